//! Templates over a document and the parameter-schema shorthand.
