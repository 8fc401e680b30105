//! Condition types and the reasons they give. Controllers set them, the CLI and tests read them.

/// Conditions of the plane kinds.
pub mod plane {
    /// Everything below holds: builds can run on the plane.
    pub const READY: &str = "Ready";
    /// The controller has taken the object up.
    pub const CREATED: &str = "Created";
    /// `clientCA` resolves to certificates that can verify an agent.
    pub const CLIENT_CA_VALID: &str = "ClientCAValid";
    /// At least one agent is connected that this object's CA verifies.
    pub const AGENT_CONNECTED: &str = "AgentConnected";
    /// The observability plane that the object refers to exists, or none is asked for.
    pub const OBSERVABILITY_PLANE_RESOLVED: &str = "ObservabilityPlaneResolved";
    /// The ClusterSecretStore that the object names is ready on the plane. Only where one is named.
    pub const SECRET_STORE_READY: &str = "SecretStoreReady";

    /// Reasons of the plane conditions.
    pub mod reason {
        /// `Ready`: True.
        pub const READY: &str = "Ready";
        /// `Created`: True on a BuildPlane.
        pub const BUILD_PLANE_CREATED: &str = "BuildPlaneCreated";
        /// `Created`: True on a ClusterBuildPlane.
        pub const CLUSTER_BUILD_PLANE_CREATED: &str = "ClusterBuildPlaneCreated";
        /// `Created`: True on a DataPlane.
        pub const DATA_PLANE_CREATED: &str = "DataPlaneCreated";
        /// `Created`: True on a ClusterDataPlane.
        pub const CLUSTER_DATA_PLANE_CREATED: &str = "ClusterDataPlaneCreated";
        /// `Created`: True on an ObservabilityPlane.
        pub const OBSERVABILITY_PLANE_CREATED: &str = "ObservabilityPlaneCreated";
        /// `Created`: True on a ClusterObservabilityPlane.
        pub const CLUSTER_OBSERVABILITY_PLANE_CREATED: &str = "ClusterObservabilityPlaneCreated";

        /// `Ready`: False, because the object is being deleted; the message says what becomes of its runs.
        pub const DELETING: &str = "Deleting";
        /// `planeID` is absent and the object's name cannot stand in for it.
        pub const INVALID_PLANE_ID: &str = "InvalidPlaneID";

        /// `ClientCAValid`: True.
        pub const CERTIFICATES_VALID: &str = "CertificatesValid";
        /// `ClientCAValid`: True, but a certificate ends soon.
        pub const CERTIFICATE_EXPIRING: &str = "CertificateExpiring";
        /// `ClientCAValid`: neither `value` nor `secretRef` is given.
        pub const CLIENT_CA_MISSING: &str = "ClientCAMissing";
        /// `ClientCAValid`: the Secret does not exist.
        pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
        /// `ClientCAValid`: the Secret does not have the key.
        pub const SECRET_KEY_NOT_FOUND: &str = "SecretKeyNotFound";
        /// `ClientCAValid`: a cluster-scoped object does not say in which namespace its Secret is.
        pub const SECRET_NAMESPACE_MISSING: &str = "SecretNamespaceMissing";
        /// `ClientCAValid`: the controller may not read Secrets of that namespace.
        pub const SECRET_NAMESPACE_DENIED: &str = "SecretNamespaceDenied";
        /// `ClientCAValid`: the text holds no certificates, or something else.
        pub const INVALID_CERTIFICATE: &str = "InvalidCertificate";
        /// `ClientCAValid`: every certificate has ended.
        pub const CERTIFICATE_EXPIRED: &str = "CertificateExpired";

        /// `AgentConnected`: True.
        pub const AGENT_CONNECTED: &str = "AgentConnected";
        /// `AgentConnected`: no agent is connected.
        pub const NO_AGENT_CONNECTED: &str = "NoAgentConnected";
        /// `AgentConnected`: the gateway turned an agent away.
        pub const AGENT_REFUSED: &str = "AgentRefused";
        /// `AgentConnected`: the controller cannot reach the gateway, so that it does not know.
        pub const GATEWAY_UNREACHABLE: &str = "GatewayUnreachable";
        /// `AgentConnected`: True, but the certificate of a connected agent ends soon.
        pub const AGENT_CERTIFICATE_EXPIRING: &str = "AgentCertificateExpiring";
        /// `AgentConnected`: agents of the plane id are connected for other objects, but this object's `clientCA` does
        /// not verify their certificates.
        pub const AGENT_NOT_VERIFIED: &str = "AgentNotVerified";
        /// `AgentConnected`: an agent is connected that `clientCA` verifies, but the owner of the plane does not let it
        /// serve this object (`allowedPlanes`).
        pub const NOT_ADMITTED_BY_PLANE: &str = "NotAdmittedByPlane";
        /// `AgentConnected`: an agent of another cluster than the one the plane is bound to was turned away.
        pub const CLUSTER_CONFLICT: &str = "ClusterConflict";

        /// `ObservabilityPlaneResolved`: the plane exists.
        pub const RESOLVED: &str = "Resolved";
        /// `ObservabilityPlaneResolved`: True, because none is named and there is no default.
        pub const NOT_CONFIGURED: &str = "NotConfigured";
        /// `ObservabilityPlaneResolved`: the plane that is named does not exist.
        pub const OBSERVABILITY_PLANE_NOT_FOUND: &str = "ObservabilityPlaneNotFound";

        /// `SecretStoreReady`: True.
        pub const SECRET_STORE_READY: &str = "SecretStoreReady";
        /// `SecretStoreReady`: the store exists and says it is not ready.
        pub const SECRET_STORE_NOT_READY: &str = "SecretStoreNotReady";
        /// `SecretStoreReady`: the store does not exist.
        pub const SECRET_STORE_NOT_FOUND: &str = "SecretStoreNotFound";
        /// `SecretStoreReady`: the plane has no External Secrets operator.
        pub const EXTERNAL_SECRETS_NOT_INSTALLED: &str = "ExternalSecretsNotInstalled";
        /// `SecretStoreReady`: Unknown, because the plane cannot be asked.
        pub const PLANE_UNREACHABLE: &str = "PlaneUnreachable";
    }

    /// Reasons of events on planes that are no reasons of conditions. A condition that changes is told by an event with
    /// the condition's own reason.
    pub mod event {
        /// The last agent left.
        pub const AGENT_DISCONNECTED: &str = "AgentDisconnected";
        /// Several objects share the plane, and nobody narrowed which of them its agents serve.
        pub const SHARED_PLANE_NOT_NARROWED: &str = "SharedPlaneNotNarrowed";
        /// Both `value` and `secretRef` are given; `value` is taken.
        pub const SECRET_REF_IGNORED: &str = "SecretRefIgnored";
        /// The certificates of `clientCA` changed.
        pub const CLIENT_CA_ROTATED: &str = "ClientCARotated";
        /// The effective plane id changed.
        pub const PLANE_ID_CHANGED: &str = "PlaneIDChanged";
        /// The plane is served by another cluster than before.
        pub const CLUSTER_CHANGED: &str = "ClusterChanged";
        /// The plane is deleted while runs are live on it.
        pub const DELETED_WITH_LIVE_RUNS: &str = "DeletedWithLiveRuns";
    }
}

/// Conditions of a Workflow.
pub mod workflow {
    /// Schema and templates hold.
    pub const READY: &str = "Ready";

    /// Reasons of the Workflow conditions.
    pub mod reason {
        /// `Ready`: True.
        pub const WORKFLOW_VALID: &str = "WorkflowValid";
        /// `Ready`: the schema or a template is wrong.
        pub const WORKFLOW_INVALID: &str = "WorkflowInvalid";
    }
}

/// Conditions of a SecretReference.
pub mod secret_reference {
    /// A Secret can be made as it says.
    pub const READY: &str = "Ready";

    /// Reasons of the SecretReference conditions.
    pub mod reason {
        /// `Ready`: True. Whether the store holds the values is known on the build plane alone.
        pub const SECRET_REFERENCE_VALID: &str = "SecretReferenceValid";
        /// `Ready`: a key is none of a Secret's, or stands there twice.
        pub const INVALID_SECRET_KEY: &str = "InvalidSecretKey";
        /// `Ready`: the type of the Secret wants a key that is not there.
        pub const SECRET_KEY_MISSING: &str = "SecretKeyMissing";
        /// `Ready`: the name of a value in the store is empty.
        pub const INVALID_REMOTE_REF: &str = "InvalidRemoteRef";
        /// `Ready`: the interval is no duration.
        pub const INVALID_REFRESH_INTERVAL: &str = "InvalidRefreshInterval";
    }
}

/// Conditions of a WorkflowRun.
pub mod run {
    /// True when the run succeeded; until then it says what the run waits for.
    pub const READY: &str = "Ready";
    /// The run came to its end, one way or the other.
    pub const WORKFLOW_COMPLETED: &str = "WorkflowCompleted";
    /// The workflow runs on the build plane.
    pub const WORKFLOW_RUNNING: &str = "WorkflowRunning";
    /// The workflow succeeded.
    pub const WORKFLOW_SUCCEEDED: &str = "WorkflowSucceeded";
    /// The workflow failed.
    pub const WORKFLOW_FAILED: &str = "WorkflowFailed";
    /// The Workload that the run produced is stored.
    pub const WORKLOAD_UPDATED: &str = "WorkloadUpdated";

    /// Reasons of the run conditions.
    pub mod reason {
        /// Not started yet, and nothing is wrong.
        pub const WORKFLOW_PENDING: &str = "WorkflowPending";
        /// Runs.
        pub const WORKFLOW_RUNNING: &str = "WorkflowRunning";
        /// Is held by `spec.suspend`.
        pub const WORKFLOW_SUSPENDED: &str = "WorkflowSuspended";
        /// Succeeded.
        pub const WORKFLOW_SUCCEEDED: &str = "WorkflowSucceeded";
        /// Failed.
        pub const WORKFLOW_FAILED: &str = "WorkflowFailed";
        /// Was canceled by `spec.cancel`.
        pub const WORKFLOW_CANCELED: &str = "WorkflowCanceled";
        /// Its objects on the build plane were deleted by somebody else.
        pub const WORKFLOW_DELETED: &str = "WorkflowDeleted";

        /// The Workflow that the run names does not exist.
        pub const WORKFLOW_NOT_FOUND: &str = "WorkflowNotFound";
        /// The Workflow itself is wrong: its schema, its references.
        pub const WORKFLOW_INVALID: &str = "WorkflowInvalid";
        /// The run's parameters do not fit the Workflow's schema.
        pub const PARAMETERS_INVALID: &str = "ParametersInvalid";
        /// An object that the Workflow refers to does not exist.
        pub const EXTERNAL_REF_NOT_FOUND: &str = "ExternalRefNotFound";
        /// The template did not render.
        pub const RENDER_FAILED: &str = "RenderFailed";
        /// What the template rendered may not run on a build plane.
        pub const NOT_ADMITTED: &str = "NotAdmitted";
        /// The run's name or namespace cannot be used on a build plane.
        pub const INVALID_NAME: &str = "InvalidName";
        /// The build plane could not be looked up.
        pub const BUILD_PLANE_RESOLUTION_FAILED: &str = "BuildPlaneResolutionFailed";
        /// There is no build plane for the run.
        pub const BUILD_PLANE_NOT_FOUND: &str = "BuildPlaneNotFound";
        /// The object of the build plane that the run was started on is deleted, or names another plane.
        pub const BUILD_PLANE_DELETED: &str = "BuildPlaneDeleted";
        /// The build plane has no agent, or did not answer.
        pub const BUILD_PLANE_UNREACHABLE: &str = "BuildPlaneUnreachable";
        /// The build plane refused an object of the run.
        pub const BUILD_PLANE_REFUSED: &str = "BuildPlaneRefused";
        /// An object of that name exists on the build plane and is not the run's.
        pub const NAME_CONFLICT: &str = "NameConflict";

        /// The reasons that no waiting removes: somebody has to change an object.
        pub const BLOCKING: [&str; 9] = [
            WORKFLOW_NOT_FOUND,
            WORKFLOW_INVALID,
            PARAMETERS_INVALID,
            EXTERNAL_REF_NOT_FOUND,
            RENDER_FAILED,
            NOT_ADMITTED,
            BUILD_PLANE_NOT_FOUND,
            BUILD_PLANE_RESOLUTION_FAILED,
            NAME_CONFLICT,
        ];

        /// `WorkloadUpdated`: True.
        pub const WORKLOAD_UPDATED: &str = "WorkloadUpdated";
        /// `WorkloadUpdated`: the output was not there, not a Workload, or not for the run's component.
        pub const WORKLOAD_UPDATE_FAILED: &str = "WorkloadUpdateFailed";
    }
}
