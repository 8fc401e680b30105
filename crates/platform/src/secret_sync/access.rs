//! Who may read a stored secret, and what they read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use crate::credentials::Login;

/// Names the namespaces of the control plane whose builds may read a stored secret, with commas between them.
/// Without it all may.
const NAMESPACES: &str = "openchoreo.dev/namespaces";
/// Says that a stored login stands for one login per namespace.
pub(crate) const PER_NAMESPACE: &str = "openchoreo.dev/login-per-namespace";

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
    let password =
        data.and_then(|data| data.get("password")).and_then(|password| str::from_utf8(&password.0).ok());
    let (Some(password), Some(reader)) = (password, reader) else {
        return Err(format!("the stored secret {name:?} is a login for builds alone"));
    };
    let login = Login { username: String::new(), password: password.to_owned() }.for_namespace(reader);
    let text = |text: String| ByteString(text.into_bytes());
    Ok(Cow::Owned(BTreeMap::from([
        ("username".to_owned(), text(login.username)),
        ("password".to_owned(), text(login.password)),
    ])))
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
}
