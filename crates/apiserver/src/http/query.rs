//! The query of a request: names and values, read on demand into types.

use buildplane_apimachinery::selector::{FieldSelector, LabelSelector};
use buildplane_store::Revision;

use crate::error::{ApiError, ApiResult};
use crate::http::path::{Plus, percent_decode};

#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> ApiResult<Self> {
        let malformed = || ApiError::bad_request("the request query is malformed");
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((percent_decode(name, Plus::Space)?, percent_decode(value, Plus::Space)?))
            })
            .collect::<Option<_>>()
            .ok_or_else(malformed)?;
        Ok(Self { pairs })
    }

    /// The first value of that name, if it is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A switch; as in Kubernetes anything but `0` and `false` is on, an empty value too.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.pairs.iter().find(|(key, _)| key == name).is_some_and(|(_, value)| {
            !matches!(value.as_str(), "0" | "false" | "False" | "FALSE" | "f" | "F")
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    pub(crate) fn number(&self, name: &str) -> ApiResult<Option<u64>> {
        self.get(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    ApiError::bad_request(format!("invalid value {value:?} for query parameter {name}"))
                })
            })
            .transpose()
    }

    /// `resourceVersion`; `None` when absent.
    pub(crate) fn revision(&self) -> ApiResult<Option<Revision>> {
        self.get("resourceVersion")
            .map(|value| {
                value.parse().map(Revision).map_err(|_| {
                    ApiError::bad_request(format!(
                        "resourceVersion: Invalid value: {value:?}: strconv.ParseUint: parsing {value:?}: invalid syntax"
                    ))
                })
            })
            .transpose()
    }

    pub(crate) fn label_selector(&self) -> ApiResult<LabelSelector> {
        LabelSelector::parse(self.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))
    }

    pub(crate) fn field_selector(&self) -> ApiResult<FieldSelector> {
        FieldSelector::parse(self.get("fieldSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))
    }

    /// Whether `dryRun=All` was asked for.
    pub(crate) fn dry_run(&self) -> ApiResult<bool> {
        let mut values = self.all("dryRun").filter(|value| !value.is_empty()).peekable();
        let asked = values.peek().is_some();
        if let Some(other) = values.find(|value| *value != "All") {
            return Err(ApiError::bad_request(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            )));
        }
        Ok(asked)
    }
}
