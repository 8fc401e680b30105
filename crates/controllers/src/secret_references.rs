//! SecretReferences: whether a Secret can be made as they say. What a store holds is known on the build plane alone, where
//! nobody reads it for us: a value that is missing there shows at the run that needs it.

use std::collections::BTreeSet;

use buildplane_api::SecretReference;
use buildplane_api::conditions::secret_reference::{self, reason};
use buildplane_api::secret_reference::{SecretReferenceSpec, SecretType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use crate::conditions::Verdict;
use crate::judged::Judge;

/// A longer key is none of a Secret's.
const MAX_KEY: usize = 253;

impl Judge for SecretReference {
    const FIELD_MANAGER: &str = "secretreference-controller";
    const READY: &str = secret_reference::READY;

    fn judge(&self) -> Verdict {
        judge(&self.spec)
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn status(&self, conditions: Vec<Condition>) -> Value {
        json!({"conditions": conditions})
    }
}

fn judge(spec: &SecretReferenceSpec) -> Verdict {
    let mut keys = BTreeSet::new();
    for (index, data) in spec.data.iter().enumerate() {
        let key = data.secret_key.as_str();
        if !is_secret_key(key) {
            return Verdict::fails(
                reason::INVALID_SECRET_KEY,
                format!(
                    "spec.data[{index}].secretKey is {key:?}, which no Secret can hold; use letters, digits, hyphens, \
                     underscores and dots"
                ),
            );
        }
        if !keys.insert(key) {
            return Verdict::fails(
                reason::INVALID_SECRET_KEY,
                format!("spec.data[{index}].secretKey {key} stands there twice; remove one of them"),
            );
        }
        if data.remote_ref.key.trim().is_empty() {
            return Verdict::fails(
                reason::INVALID_REMOTE_REF,
                format!(
                    "spec.data[{index}].remoteRef.key names nothing; write the value's key in the secret store"
                ),
            );
        }
    }
    if let Some(missing) = missing(spec.template.type_, &keys) {
        let type_ = json!(spec.template.type_);
        return Verdict::fails(
            reason::SECRET_KEY_MISSING,
            format!(
                "a Secret of type {} must have {missing}; add it to spec.data",
                type_.as_str().unwrap_or_default()
            ),
        );
    }
    if !is_duration(&spec.refresh_interval) {
        return Verdict::fails(
            reason::INVALID_REFRESH_INTERVAL,
            format!(
                "spec.refreshInterval is {:?}, which is no duration; write 1h or 30m",
                spec.refresh_interval
            ),
        );
    }
    Verdict::holds(
        reason::SECRET_REFERENCE_VALID,
        "a Secret can be made as it says; whether the store holds the values shows on the build plane",
    )
}

/// What Kubernetes wants of a Secret of that type and is not there.
fn missing(type_: SecretType, keys: &BTreeSet<&str>) -> Option<&'static str> {
    let (wanted, words): (&[&str], _) = match type_ {
        SecretType::Opaque | SecretType::BootstrapToken => return None,
        SecretType::DockerConfigJson => (&[".dockerconfigjson"], "the key .dockerconfigjson"),
        SecretType::DockerCfg => (&[".dockercfg"], "the key .dockercfg"),
        SecretType::SshAuth => (&["ssh-privatekey"], "the key ssh-privatekey"),
        SecretType::Tls => (&["tls.crt", "tls.key"], "the keys tls.crt and tls.key"),
        SecretType::BasicAuth => {
            let is_there = keys.contains("username") || keys.contains("password");
            return (!is_there).then_some("the key username or password");
        }
    };
    (!wanted.iter().all(|key| keys.contains(key))).then_some(words)
}

fn is_secret_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(plain) && !key.starts_with("..") && key != "."
}

/// Whether Go reads it as a duration that is not negative: numbers with units, or a bare zero.
fn is_duration(text: &str) -> bool {
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - after.len()];
        let is_number = number.bytes().any(|byte| byte.is_ascii_digit()) && number.matches('.').count() <= 1;
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"].into_iter().filter(|unit| after.starts_with(unit));
        // The longest: `ms` is not a minute and an `s`.
        let Some(unit) = unit.max_by_key(|unit| unit.len()).filter(|_| is_number && number.len() <= 12)
        else {
            return false;
        };
        rest = &after[unit.len()..];
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use buildplane_api::secret_reference::{RemoteReference, SecretDataSource};

    use super::*;

    fn reference(type_: SecretType, keys: &[&str]) -> SecretReferenceSpec {
        let data = |key: &&str| SecretDataSource {
            secret_key: (*key).to_owned(),
            remote_ref: RemoteReference { key: "git".to_owned(), ..RemoteReference::default() },
        };
        let mut spec = SecretReferenceSpec {
            data: keys.iter().map(data).collect(),
            refresh_interval: "1h".to_owned(),
            ..SecretReferenceSpec::default()
        };
        spec.template.type_ = type_;
        spec
    }

    #[test]
    fn what_no_secret_could_be_made_of_is_told() {
        use SecretType::{BasicAuth, DockerConfigJson, Opaque, SshAuth, Tls};
        for (type_, keys, expected) in [
            (Opaque, &["a", "B_c.d-e"][..], reason::SECRET_REFERENCE_VALID),
            (Opaque, &["a", "a"], reason::INVALID_SECRET_KEY),
            (Opaque, &["a b"], reason::INVALID_SECRET_KEY),
            (Opaque, &["../x"], reason::INVALID_SECRET_KEY),
            (Opaque, &[""], reason::INVALID_SECRET_KEY),
            (BasicAuth, &["username", "password"], reason::SECRET_REFERENCE_VALID),
            (BasicAuth, &["password"], reason::SECRET_REFERENCE_VALID),
            (BasicAuth, &["token"], reason::SECRET_KEY_MISSING),
            (SshAuth, &["ssh-privatekey", "known_hosts"], reason::SECRET_REFERENCE_VALID),
            (SshAuth, &["known_hosts"], reason::SECRET_KEY_MISSING),
            (Tls, &["tls.crt"], reason::SECRET_KEY_MISSING),
            (DockerConfigJson, &["config.json"], reason::SECRET_KEY_MISSING),
            (DockerConfigJson, &[".dockerconfigjson"], reason::SECRET_REFERENCE_VALID),
        ] {
            assert_eq!(judge(&reference(type_, keys)).reason, expected, "{type_:?} {keys:?}");
        }
        let mut nowhere = reference(Opaque, &["a"]);
        nowhere.data[0].remote_ref.key = " ".to_owned();
        assert_eq!(judge(&nowhere).reason, reason::INVALID_REMOTE_REF);
    }

    #[test]
    fn intervals_are_read_as_their_reader_does() {
        for text in ["1h", "0", "1h30m", "1.5h", "500ms", "15s", "1m30s", "10µs"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "1", "h", "1d", "-1h", "1h ", "1..5h", ".h", "one hour", "1h30"] {
            assert!(!is_duration(text), "{text}");
        }
    }
}
