//! The capabilities a step may ask for.

use std::str::FromStr;

/// A capability a step may ask for, held over its own user namespace and nothing else.
///
/// The list is fixed: what is not on it cannot be asked for. `CAP_SYS_RESOURCE` must never join it, since it would let
/// a step make user namespaces again, nor `CAP_DAC_READ_SEARCH` or `CAP_SYS_PTRACE`, which widen what the kernel trusts
/// a namespace with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// `CAP_CHOWN`
    Chown,
    /// `CAP_DAC_OVERRIDE`
    DacOverride,
    /// `CAP_FOWNER`
    Fowner,
    /// `CAP_FSETID`
    Fsetid,
    /// `CAP_KILL`
    Kill,
    /// `CAP_NET_BIND_SERVICE`
    NetBindService,
    /// `CAP_SETFCAP`
    Setfcap,
    /// `CAP_SETGID`
    Setgid,
    /// `CAP_SETPCAP`
    Setpcap,
    /// `CAP_SETUID`
    Setuid,
    /// `CAP_SYS_ADMIN`
    SysAdmin,
    /// `CAP_SYS_CHROOT`
    SysChroot,
}

impl Capability {
    /// Every capability that may be asked for: exactly what `buildah bud --isolation chroot` needs.
    pub const ALL: [Self; 12] = [
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::NetBindService,
        Self::Setfcap,
        Self::Setgid,
        Self::Setpcap,
        Self::Setuid,
        Self::SysAdmin,
        Self::SysChroot,
    ];

    /// The kernel's name, as in `CAP_CHOWN`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chown => "CAP_CHOWN",
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::Fowner => "CAP_FOWNER",
            Self::Fsetid => "CAP_FSETID",
            Self::Kill => "CAP_KILL",
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
            Self::Setfcap => "CAP_SETFCAP",
            Self::Setgid => "CAP_SETGID",
            Self::Setpcap => "CAP_SETPCAP",
            Self::Setuid => "CAP_SETUID",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysChroot => "CAP_SYS_CHROOT",
        }
    }
}

/// A capability was named that no step may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("capability {name:?} is not one that a step may have")]
pub struct UnknownCapability {
    name: String,
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// Reads `SYS_ADMIN` as Kubernetes writes it, or `CAP_SYS_ADMIN`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        Self::ALL
            .into_iter()
            .find(|capability| capability.name().strip_prefix("CAP_") == Some(bare))
            .ok_or_else(|| UnknownCapability { name: name.to_owned() })
    }
}
