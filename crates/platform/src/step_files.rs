//! The files that every build step sees: whom to believe, and where the local registry is.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use buildplane_node::SharedMount;

use crate::layout::write_private;
use crate::{Error, Layout};

/// The local registry's name in image references, whatever its port is.
pub(crate) const REGISTRY_NAME: &str = "registry.buildplane.local";

const HOST_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Writes the files and says where steps find them.
pub(crate) fn write(
    layout: &Layout,
    services_ca: &str,
    registry: SocketAddr,
) -> Result<Vec<SharedMount>, Error> {
    let directory = layout.node().join("shared");
    fs::create_dir_all(&directory)
        .map_err(|source| Error::path("create the directory", &directory, source))?;
    // A machine without a bundle of its own still builds from the local git and registry.
    let host = fs::read_to_string(HOST_BUNDLE).unwrap_or_default();
    let registries = format!(
        "# Images are named in full; the local registry has one name on every machine.\n\
         unqualified-search-registries = []\n\n\
         [[registry]]\nprefix = \"{REGISTRY_NAME}\"\nlocation = \"{registry}\"\n"
    );
    Ok(vec![
        share(&directory, "ca-certificates.crt", &format!("{host}\n{services_ca}"), HOST_BUNDLE)?,
        share(&directory, "registries.conf", &registries, "/etc/containers/registries.conf")?,
    ])
}

fn share(directory: &Path, name: &str, contents: &str, target: &str) -> Result<SharedMount, Error> {
    let source = directory.join(name);
    write_private(&source, contents.as_bytes())?;
    // A step's ids are nobody's on this machine, so the file is open to all; the directory above is not.
    fs::set_permissions(&source, fs::Permissions::from_mode(0o644))
        .map_err(|error| Error::path("open to steps", &source, error))?;
    Ok(SharedMount { source, target: target.to_owned() })
}
