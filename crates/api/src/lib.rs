//! The openchoreo.dev/v1alpha1 kinds, validated names, conditions and labels.
