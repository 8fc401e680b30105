use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::OffsetDateTime;

use crate::anchors::TrustAnchors;
use crate::certified::{CertifiedKey, KeyError};
use crate::peer::PlaneSan;

/// How far before now a certificate begins, so that peers whose clock is behind accept it.
const BACKDATE: Duration = Duration::from_mins(5);
const ORGANIZATION_OID: [u64; 4] = [2, 5, 4, 10];

/// Why a certificate could not be issued.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum IssueError {
    #[error("failed to generate a key")]
    Generate(#[source] rcgen::Error),
    #[error("failed to sign the certificate of {common_name}")]
    Sign { common_name: String, source: rcgen::Error },
    #[error("{name:?} is not a valid subject alternative name")]
    SubjectName { name: String, source: rcgen::Error },
    #[error("a certificate can carry two organizations at most, {count} were asked for")]
    TooManyOrganizations { count: usize },
    #[error("the lifetime reaches beyond representable time")]
    Lifetime,
    #[error("failed to read the authority's own certificate and key")]
    Authority(#[source] KeyError),
    #[error("failed to use the authority's certificate as an issuer")]
    Issuer(#[source] rcgen::Error),
    #[error("the authority's certificate is not one of a certificate authority")]
    NotAnAuthority,
}

/// What a leaf may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// TLS client authentication.
    Client,
    /// TLS server authentication.
    Server,
    /// Either side.
    Both,
}

/// What a leaf says.
#[derive(Debug, Clone)]
pub struct LeafRequest {
    /// The subject's common name: the user, in a client certificate.
    pub common_name: String,
    /// The subject's organizations: the user's groups. Two at most.
    pub organizations: Vec<String>,
    /// DNS subject alternative names.
    pub dns_names: Vec<String>,
    /// IP subject alternative names.
    pub ip_addresses: Vec<IpAddr>,
    /// URI subject alternative names.
    pub uris: Vec<String>,
    /// Extended key usage.
    pub usage: Usage,
    /// How long the leaf is valid from now on.
    pub lifetime: Duration,
}

impl LeafRequest {
    /// A client certificate for a user with groups.
    pub fn client(common_name: impl Into<String>, lifetime: Duration) -> Self {
        Self {
            common_name: common_name.into(),
            organizations: Vec::new(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            usage: Usage::Client,
            lifetime,
        }
    }

    /// A server certificate for DNS names and addresses.
    pub fn server(dns_names: &[&str], ip_addresses: &[IpAddr], lifetime: Duration) -> Self {
        Self {
            common_name: dns_names.first().map_or_else(|| "server".to_owned(), |name| (*name).to_owned()),
            organizations: Vec::new(),
            dns_names: dns_names.iter().map(|name| (*name).to_owned()).collect(),
            ip_addresses: ip_addresses.to_vec(),
            uris: Vec::new(),
            usage: Usage::Server,
            lifetime,
        }
    }

    /// An agent's certificate, which names its plane.
    pub fn plane(san: &PlaneSan, lifetime: Duration) -> Self {
        Self { uris: vec![san.to_string()], ..Self::client(san.plane_id.clone(), lifetime) }
    }
}

/// A certificate authority that holds its own key.
pub struct Authority {
    own: CertifiedKey,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new self-signed authority with an ECDSA P-256 key.
    pub fn generate(common_name: &str, lifetime: Duration) -> Result<Self, IssueError> {
        let key = generate_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, lifetime)?;
        let certificate = params
            .self_signed(&key)
            .map_err(|source| IssueError::Sign { common_name: common_name.to_owned(), source })?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// An authority whose certificate and key were kept.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let own = CertifiedKey::from_pem(cert_pem, key_pem).map_err(IssueError::Authority)?;
        let anchors = TrustAnchors::parse(cert_pem).map_err(|e| IssueError::Authority(KeyError::Chain(e)))?;
        if !anchors.iter().all(|anchor| anchor.issuer.is_some()) {
            return Err(IssueError::NotAnAuthority);
        }
        let key = KeyPair::from_pem(key_pem).map_err(IssueError::Issuer)?;
        let issuer = Issuer::from_ca_cert_der(&own.cert_der().into(), key).map_err(IssueError::Issuer)?;
        Ok(Self { own, issuer })
    }

    /// The authority's certificate.
    pub fn cert_pem(&self) -> &str {
        self.own.cert_pem()
    }

    /// The authority's private key.
    pub fn key_pem(&self) -> &str {
        self.own.key_pem()
    }

    /// When the authority's own certificate expires.
    pub fn expiry(&self) -> std::time::SystemTime {
        self.own.expiry()
    }

    /// This authority as the only anchor.
    pub fn anchors(&self) -> Result<TrustAnchors, crate::AnchorError> {
        TrustAnchors::parse(self.cert_pem())
    }

    /// Issues a leaf with a fresh ECDSA P-256 key.
    pub fn issue(&self, request: LeafRequest) -> Result<CertifiedKey, IssueError> {
        let key = generate_key()?;
        let common_name = request.common_name.clone();
        let certificate = leaf_params(request)?
            .signed_by(&key, &self.issuer)
            .map_err(|source| IssueError::Sign { common_name, source })?;
        CertifiedKey::from_pem(&certificate.pem(), &key.serialize_pem()).map_err(IssueError::Authority)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.own).finish()
    }
}

fn generate_key() -> Result<KeyPair, IssueError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IssueError::Generate)
}

fn leaf_params(request: LeafRequest) -> Result<CertificateParams, IssueError> {
    let LeafRequest { common_name, organizations, dns_names, ip_addresses, uris, usage, lifetime } = request;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(common_name, organizations)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match usage {
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Both => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
    };
    for name in dns_names {
        let value = name.as_str().try_into().map_err(|source| IssueError::SubjectName { name, source })?;
        params.subject_alt_names.push(SanType::DnsName(value));
    }
    for name in uris {
        let value = name.as_str().try_into().map_err(|source| IssueError::SubjectName { name, source })?;
        params.subject_alt_names.push(SanType::URI(value));
    }
    params.subject_alt_names.extend(ip_addresses.into_iter().map(SanType::IpAddress));
    set_validity(&mut params, lifetime)?;
    Ok(params)
}

fn subject(common_name: String, organizations: Vec<String>) -> Result<DistinguishedName, IssueError> {
    let mut subject = DistinguishedName::new();
    // rcgen keeps one value for each attribute type, so a second organization goes in under the attribute's bare OID.
    let slots = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION_OID.to_vec())];
    if organizations.len() > slots.len() {
        return Err(IssueError::TooManyOrganizations { count: organizations.len() });
    }
    for (slot, organization) in slots.into_iter().zip(organizations) {
        subject.push(slot, organization);
    }
    subject.push(DnType::CommonName, common_name);
    Ok(subject)
}

fn set_validity(params: &mut CertificateParams, lifetime: Duration) -> Result<(), IssueError> {
    let now = OffsetDateTime::now_utc();
    let lifetime = time::Duration::try_from(lifetime).map_err(|_range| IssueError::Lifetime)?;
    params.not_before = now - BACKDATE;
    params.not_after = now.checked_add(lifetime).ok_or(IssueError::Lifetime)?;
    Ok(())
}
