//! What the tests of the steps share.

use buildplane_api::BuildPlane;
use buildplane_api::plane::{BuildPlaneSpec, ClusterAgentConfig, ValueFrom};
use jiff::Timestamp;

/// A CA certificate in PEM, good until 2040.
pub(super) fn ca(name: &str) -> String {
    ca_until(name, 2040)
}

/// A CA certificate in PEM that ends with the beginning of a year.
pub(super) fn ca_until(name: &str, year: i32) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").pem()
}

/// The build plane `org/bp`, generation 1.
pub(super) fn plane(client_ca: ValueFrom) -> BuildPlane {
    let spec =
        BuildPlaneSpec { cluster_agent: ClusterAgentConfig { client_ca }, ..BuildPlaneSpec::default() };
    let mut plane = BuildPlane::new("bp", spec);
    plane.metadata.namespace = Some("org".into());
    plane.metadata.generation = Some(1);
    plane
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}
