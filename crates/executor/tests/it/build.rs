//! An image build in a sandbox, with the tools the shipped templates use.

use crate::support::{Sandbox, build_capabilities, volume};
use buildplane_executor::{End, Output};

/// FROM a local image, COPY with an owner, RUN as root and as a user; then the image as an OCI layout. The commands judge
/// for themselves: under load, buildah 1.28 now and then loses the last words of a short one.
const BUILD: &str = r#"
set -e
mkdir base app
cp /usr/bin/busybox base/
printf 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox","--install","-s","/bin"]\n' >base/Dockerfile
echo content >app/file
cat >app/Dockerfile <<'END'
FROM localhost/base
RUN mkdir -p /app && echo made >/app/made && chown 33:33 /app/made && chmod 4755 /app/made
COPY --chown=1000:1000 file /app/file
RUN test "$(stat -c '%a %u:%g' /app/made /app/file | tr '\n' ' ')" = '4755 33:33 644 1000:1000 '
USER 1000
RUN test "$(id -u)$(cat /app/file)" = 1000content
END
alias b='buildah --root /work/storage --runroot /work/run --storage-driver vfs'
b bud --quiet --isolation chroot -t localhost/base base
b bud --isolation chroot -t localhost/app app
b push --quiet localhost/app oci:/work/image:app
skopeo inspect --format '{{.Digest}}' oci:/work/image:app >/tmp/digest
"#;

#[tokio::test(flavor = "multi_thread")]
async fn buildah_builds_from_copy_and_run() {
    let sandbox = Sandbox::new();
    sandbox.make_volume("work").await;
    let ended = sandbox
        .run_with(BUILD, |step| {
            step.mounts = vec![volume("work", "/work")];
            step.working_directory = Some("/work".to_owned());
            step.outputs = vec![Output { name: "digest".to_owned(), path: "/tmp/digest".to_owned() }];
            build_capabilities(step);
        })
        .await;
    assert_eq!(ended.outcome.end, End::Exited(0), "{}", ended.log);
    let digest = String::from_utf8_lossy(&ended.outcome.outputs["digest"]);
    assert!(digest.starts_with("sha256:"), "{digest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_capabilities_there_is_no_build() {
    let sandbox = Sandbox::new();
    sandbox.make_volume("work").await;
    let ended = sandbox
        .run_with(BUILD, |step| {
            step.mounts = vec![volume("work", "/work")];
            step.working_directory = Some("/work".to_owned());
        })
        .await;
    assert_ne!(ended.outcome.end, End::Exited(0), "{}", ended.log);
}
