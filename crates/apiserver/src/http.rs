//! Reading requests and writing responses.

pub(crate) mod body;
pub(crate) mod negotiate;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod response;
