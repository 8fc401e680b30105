//! kube-rs as a client: what the controllers use.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use crate::support::cluster;

#[tokio::test]
async fn typed_objects_are_written_and_read() {
    let cluster = cluster().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.kube());
    let mut map = ConfigMap::default();
    map.metadata.name = Some("a".into());
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    assert!(made.metadata.uid.is_some());
    let refused = maps.create(&PostParams::default(), &map).await.unwrap_err();
    assert!(
        matches!(refused, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
    );
    let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}}));
    let applied = maps.patch("a", &PatchParams::apply("tests"), &apply).await.unwrap();
    assert_eq!(applied.data.unwrap()["k"], "v");
    let mut newer = maps.get("a").await.unwrap();
    newer.data.as_mut().unwrap().insert("l".into(), "w".into());
    maps.replace("a", &PostParams::default(), &newer).await.unwrap();
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert_eq!(maps.list_metadata(&ListParams::default().limit(1)).await.unwrap().items.len(), 1);
    maps.delete("a", &DeleteParams::foreground()).await.unwrap();
    let version = cluster.kube().apiserver_version().await.unwrap();
    assert_eq!(version.minor, "36");
}

#[tokio::test]
async fn watchers_follow_by_either_strategy() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let cluster = cluster().await;
        let maps: Api<ConfigMap> = Api::default_namespaced(cluster.kube());
        let mut map = ConfigMap::default();
        map.metadata.name = Some("a".into());
        maps.create(&PostParams::default(), &map).await.unwrap();
        let mut events = watcher(maps.clone(), config.clone()).default_backoff().boxed();
        let mut initial = Vec::new();
        loop {
            match events.try_next().await.unwrap().unwrap() {
                watcher::Event::Init => {}
                watcher::Event::InitApply(object) => initial.push(object.metadata.name.unwrap()),
                watcher::Event::InitDone => break,
                other => panic!("{config:?}: {other:?}"),
            }
        }
        assert_eq!(initial, ["a"], "{config:?}");
        map.metadata.name = Some("b".into());
        maps.create(&PostParams::default(), &map).await.unwrap();
        let event = events.try_next().await.unwrap().unwrap();
        assert!(
            matches!(event, watcher::Event::Apply(object) if object.metadata.name.as_deref() == Some("b"))
        );
        maps.delete("a", &DeleteParams::default()).await.unwrap();
        let event = events.try_next().await.unwrap().unwrap();
        assert!(
            matches!(event, watcher::Event::Delete(object) if object.metadata.name.as_deref() == Some("a"))
        );
    }
}

mod logs {
    use std::io;
    use std::sync::Arc;

    use buildplane_apiserver::{Config, LogOptions, PodLogError, PodLogRef, PodLogs};
    use bytes::Bytes;
    use futures::future::BoxFuture;
    use futures::stream::{self, BoxStream};
    use futures::{FutureExt as _, StreamExt as _};

    /// Says what it was asked for; the lines of `waiting` have not started.
    struct Echo;

    impl PodLogs for Echo {
        fn open(
            &self,
            pod: PodLogRef,
            options: LogOptions,
        ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<Bytes>>, PodLogError>> {
            async move {
                if pod.container == "waiting" {
                    return Err(PodLogError::NotStarted { reason: "PodInitializing".into() });
                }
                let lines =
                    [format!("{}/{}\n", pod.name, pod.container), format!("{:?}\n", options.tail_lines)];
                Ok(stream::iter(lines.map(|line| Ok(Bytes::from(line)))).boxed())
            }
            .boxed()
        }
    }

    pub(super) fn config() -> Config {
        Config { pod_logs: Some(Arc::new(Echo)), ..Config::default() }
    }
}

#[tokio::test]
async fn logs_come_from_whoever_keeps_them() {
    let cluster = crate::support::with(logs::config()).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.kube());
    let pod = |name: &str, containers: &[&str]| -> Pod {
        let containers: Vec<_> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"containers": containers}}))
            .unwrap()
    };
    pods.create(&PostParams::default(), &pod("one", &["main"])).await.unwrap();
    pods.create(&PostParams::default(), &pod("two", &["main", "waiting"])).await.unwrap();
    let text = pods.logs("one", &LogParams { tail_lines: Some(3), ..LogParams::default() }).await.unwrap();
    assert_eq!(text, "one/main\nSome(3)\n");
    let log = |container: &str| LogParams { container: Some(container.into()), ..LogParams::default() };
    assert_eq!(pods.logs("two", &log("main")).await.unwrap(), "two/main\nNone\n");
    for (params, part) in [
        (LogParams::default(), "a container name must be specified for pod two"),
        (log("other"), "container other is not valid for pod two"),
        (log("waiting"), "container \"waiting\" in pod \"two\" is waiting to start: PodInitializing"),
    ] {
        let refused = pods.logs("two", &params).await.unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
}
