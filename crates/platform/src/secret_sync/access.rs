//! Who may read a stored secret, and what they read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use serde_json::{Value, json};

use crate::credentials::Login;

/// Names the namespaces of the control plane whose builds may read a stored secret, with commas between them.
/// Without it all may.
const NAMESPACES: &str = "openchoreo.dev/namespaces";
/// Says that a stored login stands for one login per namespace.
pub(crate) const PER_NAMESPACE: &str = "openchoreo.dev/login-per-namespace";

/// The key of a Docker login.
const DOCKER: &str = ".dockerconfigjson";

/// What builds of the namespace `reader` get of a stored secret, or why they get nothing.
pub(super) fn data_for<'s>(
    stored: &'s Secret,
    reader: Option<&str>,
) -> Result<Cow<'s, BTreeMap<String, ByteString>>, String> {
    let name = stored.name_any();
    if let Some(allowed) = stored.annotations().get(NAMESPACES)
        && !reader.is_some_and(|reader| allowed.split(',').any(|one| one.trim() == reader))
    {
        return Err(format!(
            "the stored secret {name:?} is not for builds of namespace {:?}; its annotation {NAMESPACES} names who may \
             read it",
            reader.unwrap_or_default()
        ));
    }
    let data = stored.data.as_ref();
    if !stored.annotations().contains_key(PER_NAMESPACE) {
        return Ok(data.map_or_else(Cow::default, Cow::Borrowed));
    }
    let only_builds = || format!("the stored secret {name:?} is a login for builds alone");
    let reader = reader.ok_or_else(only_builds)?;
    let value =
        |key: &str| data.and_then(|data| data.get(key)).and_then(|value| str::from_utf8(&value.0).ok());
    let text = |text: String| ByteString(text.into_bytes());
    if let Some(logins) = value(DOCKER) {
        let logins = docker_logins(logins, reader).ok_or_else(only_builds)?;
        return Ok(Cow::Owned(BTreeMap::from([(DOCKER.to_owned(), text(logins))])));
    }
    let login = namespaces_login(value("password").ok_or_else(only_builds)?, reader);
    Ok(Cow::Owned(BTreeMap::from([
        ("username".to_owned(), text(login.username)),
        ("password".to_owned(), text(login.password)),
    ])))
}

fn namespaces_login(password: &str, reader: &str) -> Login {
    Login { username: String::new(), password: password.to_owned() }.for_namespace(reader)
}

/// A Docker login with the namespace's own in place of each.
fn docker_logins(text: &str, reader: &str) -> Option<String> {
    let logins: Value = serde_json::from_str(text).ok()?;
    let mut auths = serde_json::Map::new();
    for (registry, login) in logins.get("auths")?.as_object()? {
        let login = namespaces_login(login.get("password")?.as_str()?, reader);
        auths.insert(registry.clone(), login.docker());
    }
    Some(json!({ "auths": auths }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(annotation: Option<(&str, &str)>) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some("login".to_owned());
        secret.metadata.annotations =
            annotation.map(|(key, value)| BTreeMap::from([(key.to_owned(), value.to_owned())]));
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        secret.data =
            Some(BTreeMap::from([("username".to_owned(), text("u")), ("password".to_owned(), text("p"))]));
        secret
    }

    #[test]
    fn a_stored_secret_says_who_may_read_it() {
        for (allowed, reader, expected) in [
            (None, Some("alice"), true),
            (None, None, true),
            (Some("alice"), Some("alice"), true),
            (Some("bob, alice"), Some("alice"), true),
            (Some("alice"), Some("mallory"), false),
            (Some("alice"), Some("ali"), false),
            (Some("alice"), None, false),
            (Some(""), Some("alice"), false),
        ] {
            let secret = stored(allowed.map(|allowed| (NAMESPACES, allowed)));
            assert_eq!(data_for(&secret, reader).is_ok(), expected, "{allowed:?} {reader:?}");
        }
    }

    #[test]
    fn a_login_per_namespace_is_another_one_in_each() {
        let secret = stored(Some((PER_NAMESPACE, "true")));
        let alice = data_for(&secret, Some("alice")).unwrap();
        let mallory = data_for(&secret, Some("mallory")).unwrap();
        assert_eq!(alice["username"].0, b"alice");
        assert_ne!(alice["password"], mallory["password"]);
        assert_ne!(alice["password"].0, b"p");
        assert!(data_for(&secret, None).is_err());
    }

    #[test]
    fn a_docker_login_is_another_one_in_each_namespace_too() {
        let mut secret = stored(Some((PER_NAMESPACE, "true")));
        let docker = |text: &str| Some(BTreeMap::from([(DOCKER.to_owned(), ByteString(text.into()))]));
        secret.data =
            docker(r#"{"auths":{"127.0.0.1:5050":{"username":"builds","password":"p","auth":"eDpw"}}}"#);
        let login = |reader: &str| -> Value {
            serde_json::from_slice(&data_for(&secret, Some(reader)).unwrap()[DOCKER].0).unwrap()
        };
        let (alice, bob) = (login("alice"), login("bob"));
        let of =
            |logins: &Value, key: &str| logins["auths"]["127.0.0.1:5050"][key].as_str().unwrap().to_owned();
        assert_eq!(of(&alice, "username"), "alice");
        assert_ne!(of(&alice, "password"), of(&bob, "password"));
        assert!(!alice.to_string().contains("\"p\"") && !alice.to_string().contains("eDpw"), "{alice}");
        // What cannot be understood is handed to nobody as it is.
        for broken in ["{}", "x", r#"{"auths":{"r":{"auth":"eDpw"}}}"#] {
            secret.data = docker(broken);
            assert!(data_for(&secret, Some("alice")).is_err(), "{broken}");
        }
    }
}
