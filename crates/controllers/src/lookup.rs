//! Looking up objects whose names people wrote.

use std::fmt::Debug;

use buildplane_api::names::is_subdomain;
use kube::Api;
use serde::de::DeserializeOwned;

/// Looks an object up. A text that is no name is the name of nothing: it would become a part of the request's path, and
/// `../../other/secrets/x` another request.
pub(crate) async fn find<K>(api: &Api<K>, name: &str) -> kube::Result<Option<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    if is_subdomain(name) { api.get_opt(name).await } else { Ok(None) }
}
