//! Judges a plane object and what it points at.

use buildplane_api::names::{NameError, PlaneId};
use jiff::{SignedDuration, Timestamp};

use super::access::PlaneApi;
use super::certificates::{Bundle, BundleError};
use super::dereference::{ClientCa, Dereferenced, Observability};
use crate::conditions::Verdict;
use buildplane_api::conditions::plane::reason;

/// How long before its end a certificate is warned of.
pub(super) const EXPIRY_WARNING: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A plane object, judged.
#[derive(Debug)]
pub(super) struct Validated {
    pub(super) plane_id: Result<PlaneId, NameError>,
    /// The certificates, if they can verify anybody.
    pub(super) bundle: Option<Bundle>,
    /// Whether both a value and a reference are given, of which the value is taken.
    pub(super) secret_ignored: bool,
    /// What is told of the CA.
    pub(super) client_ca: Verdict,
    /// What is told of the observability plane; nothing where the kind has none.
    pub(super) observability: Option<Verdict>,
}

pub(super) fn validate<P: PlaneApi>(object: &P, found: Dereferenced, now: Timestamp) -> Validated {
    let secret_ignored = matches!(found.client_ca, ClientCa::Inline { secret_ignored: true, .. });
    let (bundle, client_ca) = client_ca(found.client_ca, now);
    Validated {
        plane_id: object.plane_id(),
        bundle,
        secret_ignored,
        client_ca,
        observability: observability(found.observability),
    }
}

fn client_ca(source: ClientCa, now: Timestamp) -> (Option<Bundle>, Verdict) {
    let fails = |reason, message: String| (None, Verdict::fails(reason, message));
    let (parsed, note) = match source {
        ClientCa::Inline { text, secret_ignored } => {
            let note = if secret_ignored { "; secretRef is ignored because value is given" } else { "" };
            (Bundle::parse(text.as_bytes()), note)
        }
        ClientCa::FromSecret { text } => (Bundle::parse(&text), ""),
        ClientCa::Absent => {
            return fails(
                reason::CLIENT_CA_MISSING,
                "clusterAgent.clientCA has neither value nor secretRef; add the ca.crt of the agent's Secret \
                 cluster-agent-tls"
                    .to_owned(),
            );
        }
        ClientCa::NamespaceMissing => {
            return fails(
                reason::SECRET_NAMESPACE_MISSING,
                "clientCA.secretRef.namespace is required on cluster-scoped kinds; add it".to_owned(),
            );
        }
        ClientCa::NamespaceDenied { namespace } => {
            return fails(
                reason::SECRET_NAMESPACE_DENIED,
                format!(
                    "the controller may not read Secrets of namespace {namespace}; move the Secret, or allow the \
                     namespace in the controller's configuration"
                ),
            );
        }
        ClientCa::SecretNotFound { namespace, name } => {
            return fails(
                reason::SECRET_NOT_FOUND,
                format!(
                    "Secret {namespace}/{name} does not exist; create it with the agent's CA certificate"
                ),
            );
        }
        ClientCa::KeyNotFound { namespace, name, key } => {
            return fails(
                reason::SECRET_KEY_NOT_FOUND,
                format!(
                    "Secret {namespace}/{name} has no key {key}; add it, or correct clientCA.secretRef.key"
                ),
            );
        }
    };
    match parsed {
        Ok(bundle) => judge_dates(bundle, note, now),
        Err(error) => fails(reason::INVALID_CERTIFICATE, invalid(&error)),
    }
}

fn invalid(error: &BundleError) -> String {
    format!("clientCA is not a certificate: {error}; use the ca.crt of the agent's Secret cluster-agent-tls")
}

fn judge_dates(bundle: Bundle, note: &str, now: Timestamp) -> (Option<Bundle>, Verdict) {
    let Some(end) = bundle.last_not_after() else {
        return (None, Verdict::fails(reason::INVALID_CERTIFICATE, invalid(&BundleError::Empty)));
    };
    let n = bundle.certificates.len();
    let subjects: Vec<&str> =
        bundle.certificates.iter().map(|certificate| certificate.subject.as_str()).collect();
    let subjects = subjects.join("; ");
    if end <= now {
        let message =
            format!("every certificate of clientCA ({subjects}) has ended, the last at {end}; renew the CA");
        return (None, Verdict::fails(reason::CERTIFICATE_EXPIRED, message));
    }
    let certificates = if n == 1 { "1 certificate".to_owned() } else { format!("{n} certificates") };
    let verdict = if end.duration_since(now) < EXPIRY_WARNING {
        Verdict::holds(
            reason::CERTIFICATE_EXPIRING,
            format!("clientCA ({subjects}) ends at {end}; add its successor to the bundle before{note}"),
        )
    } else {
        Verdict::holds(
            reason::CERTIFICATES_VALID,
            format!("{certificates} ({subjects}), valid until {end}{note}"),
        )
    };
    (Some(bundle), verdict)
}

fn observability(found: Observability) -> Option<Verdict> {
    match found {
        Observability::NotApplicable => None,
        Observability::NotConfigured => Some(Verdict::holds(
            reason::NOT_CONFIGURED,
            "no observability plane is named and there is no default; logs are kept on the build plane alone",
        )),
        Observability::Found { kind, name } => {
            Some(Verdict::holds(reason::RESOLVED, format!("{kind} {name} exists")))
        }
        Observability::Missing { kind, namespace, name } => {
            let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
            Some(Verdict::fails(
                reason::OBSERVABILITY_PLANE_NOT_FOUND,
                format!("{kind} {name} does not exist{place}; create it, or change observabilityPlaneRef"),
            ))
        }
    }
}

#[cfg(test)]
mod tests;
