//! What a Pod asks for, judged without looking at anything else.

use std::time::Duration;

use buildplane_executor::{Capability, HostEntry, Output, VolumeId};
use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, Pod, PodSpec, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use crate::refusal::Refusal;
use crate::{Config, fields, quantity};

/// Annotation of a Pod: the files to hand back, `[{"name": …, "path": …}]`.
pub(crate) const COLLECT_FILES: &str = "openchoreo.dev/collect-files";
/// Annotation this node writes: the files' contents by name.
pub(crate) const COLLECTED_FILES: &str = "openchoreo.dev/collected-files";

/// A memory file system that names no size.
const MEMORY_VOLUME: u64 = 256 << 20;

/// What a Pod asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) host_name: String,
    pub(crate) container: String,
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) env_from: Vec<EnvFromSource>,
    pub(crate) working_directory: Option<String>,
    pub(crate) mounts: Vec<PlannedMount>,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) duration: Duration,
    pub(crate) memory: Option<u64>,
    pub(crate) hosts: Vec<HostEntry>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) message_from_log: bool,
}

/// Something mounted, before what it names has been read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedMount {
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) source: MountSource,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MountSource {
    Secret {
        name: String,
        items: Items,
    },
    ConfigMap {
        name: String,
        items: Items,
    },
    Claim {
        name: String,
    },
    /// On disk, for this Pod alone.
    Scratch {
        id: VolumeId,
    },
    Memory {
        size: u64,
    },
}

/// Which keys become which files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Items {
    pub(crate) optional: bool,
    pub(crate) mode: u32,
    /// Key, path and mode; empty means every key under its own name.
    pub(crate) chosen: Vec<(String, String, Option<u32>)>,
}

impl Plan {
    /// The volumes on disk that exist for this Pod alone.
    pub(crate) fn scratch(&self) -> impl Iterator<Item = &VolumeId> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Scratch { id } => Some(id),
            _ => None,
        })
    }
}

/// Reads a Pod.
pub(crate) fn plan(pod: &Pod, config: &Config) -> Result<Plan, Refusal> {
    let spec = pod.spec.as_ref().ok_or_else(|| Refusal::value("spec", "is missing"))?;
    let value = serde_json::to_value(spec).map_err(|error| Refusal::value("spec", error.to_string()))?;
    if let Some(field) = fields::first_unsupported(&value) {
        return Err(Refusal::Field { field });
    }
    if let Some(policy) = spec.restart_policy.as_deref().filter(|policy| *policy != "Never") {
        return Err(Refusal::value(
            "spec.restartPolicy",
            format!("{policy} is not supported here, only Never"),
        ));
    }
    let [container] = spec.containers.as_slice() else {
        return Err(Refusal::value("spec.containers", "exactly one is supported here"));
    };
    image(container, config)?;
    identity(spec, container)?;
    let command: Vec<String> =
        [&container.command, &container.args].into_iter().flatten().flatten().cloned().collect();
    if container.command.as_ref().is_none_or(Vec::is_empty) {
        return Err(Refusal::value(
            "spec.containers[0].command",
            "is missing: the tools have no program of their own",
        ));
    }
    Ok(Plan {
        host_name: host_name(pod.metadata.name.as_deref().unwrap_or_default()),
        container: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        command,
        env: container.env.clone().unwrap_or_default(),
        env_from: container.env_from.clone().unwrap_or_default(),
        working_directory: container.working_dir.clone().filter(|directory| !directory.is_empty()),
        mounts: mounts(pod, spec, container)?,
        capabilities: capabilities(container)?,
        duration: duration(spec, config),
        memory: memory(container)?,
        hosts: hosts(spec, config)?,
        outputs: outputs(pod)?,
        message_from_log: container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"),
    })
}

/// An image is named by everything before its tag and digest.
fn image(container: &Container, config: &Config) -> Result<(), Refusal> {
    let image = container.image.as_deref().unwrap_or_default();
    let without_digest = image.split('@').next().unwrap_or_default();
    let name = match without_digest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => without_digest,
    };
    if config.images.iter().any(|allowed| allowed == name) {
        Ok(())
    } else {
        Err(Refusal::Image { image: image.to_owned(), allowed: config.images.clone() })
    }
}

/// A step is user 0 of its own namespace, which is nobody outside.
fn identity(spec: &PodSpec, container: &Container) -> Result<(), Refusal> {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    for (field, id) in [
        ("spec.securityContext.runAsUser", pod.and_then(|context| context.run_as_user)),
        ("spec.securityContext.runAsGroup", pod.and_then(|context| context.run_as_group)),
        ("spec.containers[0].securityContext.runAsUser", own.and_then(|context| context.run_as_user)),
        ("spec.containers[0].securityContext.runAsGroup", own.and_then(|context| context.run_as_group)),
    ] {
        if let Some(id) = id.filter(|id| *id != 0) {
            return Err(Refusal::value(field, format!("{id} is not supported here, only 0")));
        }
    }
    Ok(())
}

fn capabilities(container: &Container) -> Result<Vec<Capability>, Refusal> {
    let asked = container.security_context.as_ref().and_then(|context| context.capabilities.as_ref());
    asked
        .and_then(|capabilities| capabilities.add.as_ref())
        .into_iter()
        .flatten()
        .map(|name| {
            let field = "spec.containers[0].securityContext.capabilities.add";
            name.parse().map_err(|error| Refusal::value(field, format!("{error}")))
        })
        .collect()
}

fn duration(spec: &PodSpec, config: &Config) -> Duration {
    let asked = spec.active_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    asked.map_or(config.max_duration, |seconds| Duration::from_secs(seconds).min(config.max_duration))
}

fn memory(container: &Container) -> Result<Option<u64>, Refusal> {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = limits.and_then(|limits| limits.get("memory"));
    limit.map(|Quantity(text)| size("spec.containers[0].resources.limits.memory", text)).transpose()
}

fn size(field: &str, text: &str) -> Result<u64, Refusal> {
    quantity::bytes(text).ok_or_else(|| Refusal::value(field, format!("{text:?} is no quantity")))
}

fn hosts(spec: &PodSpec, config: &Config) -> Result<Vec<HostEntry>, Refusal> {
    let mut hosts = config.hosts.clone();
    for alias in spec.host_aliases.iter().flatten() {
        let address = alias
            .ip
            .parse()
            .map_err(|_| Refusal::value("spec.hostAliases", format!("{:?} is no address", alias.ip)))?;
        hosts.extend(alias.hostnames.iter().flatten().map(|name| HostEntry { address, name: name.clone() }));
    }
    Ok(hosts)
}

#[derive(Deserialize)]
struct CollectFile {
    name: String,
    path: String,
}

fn outputs(pod: &Pod) -> Result<Vec<Output>, Refusal> {
    let annotations = pod.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|annotations| annotations.get(COLLECT_FILES)) else {
        return Ok(Vec::new());
    };
    let files: Vec<CollectFile> = serde_json::from_str(text)
        .map_err(|error| Refusal::value(format!("annotation {COLLECT_FILES}"), error.to_string()))?;
    Ok(files.into_iter().map(|CollectFile { name, path }| Output { name, path }).collect())
}

fn mounts(pod: &Pod, spec: &PodSpec, container: &Container) -> Result<Vec<PlannedMount>, Refusal> {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount: &VolumeMount| {
            let volume = volumes.iter().find(|volume| volume.name == mount.name).ok_or_else(|| {
                Refusal::value(
                    "spec.containers[0].volumeMounts",
                    format!("there is no volume {:?}", mount.name),
                )
            })?;
            Ok(PlannedMount {
                target: mount.mount_path.trim_end_matches('/').to_owned(),
                read_only: mount.read_only.unwrap_or_default(),
                source: source(pod, volume)?,
            })
        })
        .collect()
}

fn source(pod: &Pod, volume: &Volume) -> Result<MountSource, Refusal> {
    let field = format!("spec.volumes[{}]", volume.name);
    if let Some(secret) = &volume.secret {
        let items = items(secret.items.as_deref(), secret.default_mode, 0o400, secret.optional);
        return Ok(MountSource::Secret { name: secret.secret_name.clone().unwrap_or_default(), items });
    }
    if let Some(map) = &volume.config_map {
        let items = items(map.items.as_deref(), map.default_mode, 0o644, map.optional);
        return Ok(MountSource::ConfigMap { name: map.name.clone(), items });
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Ok(MountSource::Claim { name: claim.claim_name.clone() });
    }
    // A volume without a source is an emptyDir.
    let empty = volume.empty_dir.clone().unwrap_or_default();
    match empty.medium.as_deref() {
        Some("Memory") => {
            let limit = empty.size_limit.map(|Quantity(text)| size(&field, &text)).transpose()?;
            Ok(MountSource::Memory { size: limit.unwrap_or(MEMORY_VOLUME) })
        }
        None | Some("") => {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            let id = format!("{uid}.{}", volume.name).parse();
            Ok(MountSource::Scratch { id: id.map_err(|error| Refusal::value(field, format!("{error}")))? })
        }
        Some(other) => Err(Refusal::value(field, format!("medium {other:?} is not supported here"))),
    }
}

/// A secret's files are the step's alone unless the Pod says otherwise, which is tighter than Kubernetes' own default;
/// the default that an API server fills in counts as saying nothing.
fn items(
    chosen: Option<&[k8s_openapi::api::core::v1::KeyToPath]>,
    default_mode: Option<i32>,
    ours: u32,
    optional: Option<bool>,
) -> Items {
    const FILLED_IN: u32 = 0o644;
    let mode = |mode: i32| u32::try_from(mode).unwrap_or_default() & 0o777;
    Items {
        optional: optional.unwrap_or_default(),
        mode: default_mode.map(mode).filter(|mode| *mode != FILLED_IN).unwrap_or(ours),
        chosen: chosen
            .unwrap_or_default()
            .iter()
            .map(|item| (item.key.clone(), item.path.clone(), item.mode.map(mode)))
            .collect(),
    }
}

/// A DNS label out of the Pod's name.
fn host_name(name: &str) -> String {
    let label: String = name.chars().map(|c| if c == '.' { '-' } else { c }).take(63).collect();
    let label = label.trim_matches('-');
    if label.is_empty() { "step".to_owned() } else { label.to_owned() }
}
