//! Reading what a Pod names: Secrets, ConfigMaps and claims.

use std::collections::BTreeMap;

use buildplane_executor::{Access, FileContent, Mount, Variable, VolumeId};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use kube::{Api, Client};

use crate::expand::expand;
use crate::plan::{Items, MountSource, Plan};
use crate::refusal::Refusal;

/// What a Pod names, read.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) environment: Vec<Variable>,
    pub(crate) command: Vec<String>,
    pub(crate) working_directory: Option<String>,
    pub(crate) mounts: Vec<Mount>,
}

/// Why something could not be read.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// It is not there, or not as the Pod says; it may come.
    Absent(Refusal),
    /// The API did not answer.
    Api(kube::Error),
}

impl From<kube::Error> for ResolveError {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

/// Names the directory of a claim.
pub(crate) fn claim_volume(uid: &str) -> Option<VolumeId> {
    format!("pvc-{uid}").parse().ok()
}

/// Reads everything anew.
pub(crate) async fn resolve(client: &Client, namespace: &str, plan: &Plan) -> Result<Resolved, ResolveError> {
    let mut reader = Reader { client, namespace, objects: BTreeMap::new() };
    let environment = reader.environment(plan).await?;
    let lookup = |name: &str| {
        environment.iter().rev().find(|variable| variable.name == name).map(|variable| variable.value.clone())
    };
    let command = plan.command.iter().map(|argument| expand(argument, lookup)).collect();
    let mut mounts = Vec::new();
    for planned in &plan.mounts {
        let target = planned.target.clone();
        mounts.push(match &planned.source {
            MountSource::Secret { name, items } => {
                let entries = reader.entries(Kind::Secret, name, items.optional).await?;
                Mount::Files { target, files: files(Kind::Secret, name, &entries, items)? }
            }
            MountSource::ConfigMap { name, items } => {
                let entries = reader.entries(Kind::ConfigMap, name, items.optional).await?;
                Mount::Files { target, files: files(Kind::ConfigMap, name, &entries, items)? }
            }
            MountSource::Claim { name } => {
                Mount::Volume { id: reader.claim(name).await?, target, access: access(planned.read_only) }
            }
            MountSource::Scratch { id } => {
                Mount::Volume { id: id.clone(), target, access: access(planned.read_only) }
            }
            MountSource::Memory { size } => Mount::Memory { target, size: *size },
        });
    }
    Ok(Resolved { environment, command, working_directory: plan.working_directory.clone(), mounts })
}

fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::ReadWrite }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Secret,
    ConfigMap,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
        }
    }
}

type Entries = BTreeMap<String, Vec<u8>>;

/// Reads each object once.
struct Reader<'a> {
    client: &'a Client,
    namespace: &'a str,
    objects: BTreeMap<(Kind, String), Option<Entries>>,
}

impl Reader<'_> {
    async fn environment(&mut self, plan: &Plan) -> Result<Vec<Variable>, ResolveError> {
        let mut environment: Vec<Variable> = Vec::new();
        for source in &plan.env_from {
            let (kind, name, optional) = match (&source.secret_ref, &source.config_map_ref) {
                (Some(found), _) => (Kind::Secret, &found.name, found.optional),
                (None, Some(found)) => (Kind::ConfigMap, &found.name, found.optional),
                (None, None) => continue,
            };
            let prefix = source.prefix.as_deref().unwrap_or_default();
            for (key, value) in self.entries(kind, name, optional.unwrap_or_default()).await? {
                environment
                    .push(Variable { name: format!("{prefix}{key}"), value: text(kind, name, &key, value)? });
            }
        }
        for variable in &plan.env {
            let source = variable.value_from.as_ref();
            let key = source.and_then(|source| match (&source.secret_key_ref, &source.config_map_key_ref) {
                (Some(key), _) => Some((Kind::Secret, &key.name, &key.key, key.optional)),
                (None, Some(key)) => Some((Kind::ConfigMap, &key.name, &key.key, key.optional)),
                (None, None) => None,
            });
            let value = match key {
                Some((kind, name, key, optional)) => {
                    let optional = optional.unwrap_or_default();
                    match self.entries(kind, name, optional).await?.remove(key) {
                        Some(value) => text(kind, name, key, value)?,
                        None if optional => continue,
                        None => return Err(absent(format!("{} {name:?} has no key {key:?}", kind.name()))),
                    }
                }
                None => expand(variable.value.as_deref().unwrap_or_default(), |wanted| {
                    environment.iter().rev().find(|set| set.name == wanted).map(|set| set.value.clone())
                }),
            };
            environment.push(Variable { name: variable.name.clone(), value });
        }
        Ok(environment)
    }

    async fn entries(&mut self, kind: Kind, name: &str, optional: bool) -> Result<Entries, ResolveError> {
        let key = (kind, name.to_owned());
        if !self.objects.contains_key(&key) {
            let read = self.read(kind, name).await?;
            self.objects.insert(key.clone(), read);
        }
        match self.objects.get(&key).cloned().flatten() {
            Some(entries) => Ok(entries),
            None if optional => Ok(Entries::new()),
            None => Err(absent(format!("{} {name:?} does not exist", kind.name()))),
        }
    }

    async fn read(&self, kind: Kind, name: &str) -> Result<Option<Entries>, kube::Error> {
        if name.is_empty() {
            return Ok(None);
        }
        match kind {
            Kind::Secret => {
                let secret =
                    Api::<Secret>::namespaced(self.client.clone(), self.namespace).get_opt(name).await?;
                Ok(secret.map(|secret| {
                    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
                }))
            }
            Kind::ConfigMap => {
                let map =
                    Api::<ConfigMap>::namespaced(self.client.clone(), self.namespace).get_opt(name).await?;
                Ok(map.map(|map| {
                    let text = map
                        .data
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(key, value)| (key, value.into_bytes()));
                    let binary =
                        map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
                    text.chain(binary).collect()
                }))
            }
        }
    }

    async fn claim(&self, name: &str) -> Result<VolumeId, ResolveError> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), self.namespace);
        let claim = claims.get_opt(name).await?;
        let found = claim.filter(|claim| claim.metadata.deletion_timestamp.is_none());
        let uid = found.and_then(|claim| claim.metadata.uid);
        uid.as_deref()
            .and_then(claim_volume)
            .ok_or_else(|| absent(format!("persistentvolumeclaim {name:?} does not exist")))
    }
}

fn files(kind: Kind, name: &str, entries: &Entries, items: &Items) -> Result<Vec<FileContent>, ResolveError> {
    if items.chosen.is_empty() {
        let file = |(key, bytes): (&String, &Vec<u8>)| FileContent {
            path: key.clone(),
            bytes: bytes.clone(),
            mode: items.mode,
        };
        return Ok(entries.iter().map(file).collect());
    }
    let mut files = Vec::new();
    for (key, path, mode) in &items.chosen {
        match entries.get(key) {
            Some(bytes) => files.push(FileContent {
                path: path.clone(),
                bytes: bytes.clone(),
                mode: mode.unwrap_or(items.mode),
            }),
            None if items.optional => {}
            None => return Err(absent(format!("{} {name:?} has no key {key:?}", kind.name()))),
        }
    }
    Ok(files)
}

fn text(kind: Kind, name: &str, key: &str, value: Vec<u8>) -> Result<String, ResolveError> {
    String::from_utf8(value)
        .map_err(|_| absent(format!("key {key:?} of {} {name:?} is not text", kind.name())))
}

fn absent(problem: String) -> ResolveError {
    ResolveError::Absent(Refusal::Reference { problem })
}
