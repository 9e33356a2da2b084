//! The StatefulSet of the members.

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodTemplateSpec, Probe, SecretVolumeSource,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use quorate_api::Release;

use super::{config, services};
use crate::common::identity::{CONFIG_HASH, OWNER_UID, matching};
use crate::common::overrides::MEMBER;
use crate::common::{pods, storage};
use crate::pool::{Pool, VOLUME};
use crate::{Env, PoolStage, Template};

const DATA: &str = "/var/lib/quorate";
const CONFIG: &str = "/etc/quorate";
const TLS: &str = "/etc/quorate-tls";

/// The StatefulSet of a stage.
pub(crate) fn stateful_set(pool: &Pool, stage: &PoolStage, env: &Env) -> StatefulSet {
    let config = config::config_map(pool);
    let retain = || Some("Retain".to_owned());
    let claim = pool.storage.as_ref().map(|storage| {
        let size = stage.claim_size.as_deref();
        storage::claim_template(VOLUME, pool.name.name, &pool.identity, storage, size)
    });
    StatefulSet {
        metadata: pool.meta(""),
        spec: Some(StatefulSetSpec {
            service_name: Some(format!("{}{}", pool.set, services::PEERS)),
            replicas: Some(stage.replicas),
            selector: matching(pool.selector()),
            template: template(pool, stage, &config, env),
            volume_claim_templates: claim.map(|claim| vec![claim]),
            // In order, a member would wait for one before it that waits for a quorum.
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(stage.partition),
                    ..RollingUpdateStatefulSetStrategy::default()
                }),
            }),
            // A process that ends right after it was Ready does not count; caught up or not is asked of the member.
            min_ready_seconds: Some(2),
            revision_history_limit: Some(5),
            // The operator deletes claims itself, by the resource's policy and only when the group has let go.
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: retain(),
                    when_scaled: retain(),
                },
            ),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn template(pool: &Pool, stage: &PoolStage, config: &ConfigMap, env: &Env) -> PodTemplateSpec {
    let release = match &stage.template {
        Template::Target => &pool.release,
        Template::Stable(stable) => stable,
    };
    let identity = &pool.identity;
    let selector = pool.selector();
    let mut labels = identity.labels(pool.name.name);
    labels.insert(OWNER_UID.into(), identity.uid().into());
    if let Some(version) = &release.version {
        labels.insert("app.kubernetes.io/version".into(), version.clone());
    }
    let mut spec = pods::pod_spec(&pool.pods, &pool.set, &selector);
    spec.containers = vec![container(pool, release, env)];
    spec.volumes = Some(volumes(pool, config));
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations(pool, config).into_iter().collect()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    pool.overrides.over(template)
}

fn annotations(pool: &Pool, config: &ConfigMap) -> Vec<(String, String)> {
    let mut annotations = vec![(CONFIG_HASH.into(), config::hash(config))];
    if let Some(health) = pool
        .port("health")
        .filter(|_| pool.monitoring.scrape_annotations)
    {
        annotations.push(("prometheus.io/scrape".into(), "true".into()));
        annotations.push(("prometheus.io/port".into(), health.to_string()));
        annotations.push(("prometheus.io/path".into(), "/metrics".into()));
    }
    annotations
}

fn container(pool: &Pool, release: &Release, env: &Env) -> Container {
    let ports = pool.program.ports.iter().map(|port| ContainerPort {
        name: Some(port.name.into()),
        container_port: port.number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    });
    Container {
        name: MEMBER.into(),
        image: Some(release.image.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        // One image holds the binaries of all kinds.
        command: Some(vec![pool.program.binary.into()]),
        ports: Some(ports.collect()),
        env: Some(environment(pool, env)),
        resources: Some(pods::requirements(&pool.resources)),
        startup_probe: Some(probe("/livez", 1, 2, pool.program.starts_within)),
        // A restart interrupts: only a member that has not answered for a minute is taken for wedged.
        liveness_probe: Some(probe("/livez", 10, 5, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2, 2)),
        security_context: Some(pods::restricted()),
        // What it said last before it ended is what a condition tells people.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts(pool)),
        ..Container::default()
    }
}

/// What differs from pod to pod, and where things lie. The order matters: a variable may only use earlier ones.
fn environment(pool: &Pool, env: &Env) -> Vec<EnvVar> {
    let mut variables = vec![
        of_pod("QUORATE_NAME", "metadata.name"),
        of_pod("QUORATE_BIND_ADDRESS", "status.podIP"),
    ];
    if let Some(address) = pool.peer_address(env, "$(QUORATE_NAME)") {
        variables.push(plain("QUORATE_PEER_ADDRESS", &address));
    }
    if pool.storage.is_some() {
        variables.push(plain("QUORATE_DATA_DIR", DATA));
    }
    variables.push(plain(
        "QUORATE_CONFIG",
        &format!("{CONFIG}/{}", config::FILE),
    ));
    if pool.tls.is_some() {
        variables.push(plain("QUORATE_TLS_DIR", TLS));
    }
    let own = pool.program.environment.iter();
    variables.extend(own.map(|(name, value)| plain(name, value)));
    variables
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    }
}

fn of_pod(name: &str, field: &str) -> EnvVar {
    let field = ObjectFieldSelector {
        api_version: Some("v1".into()),
        field_path: field.into(),
    };
    let source = EnvVarSource {
        field_ref: Some(field),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: name.into(),
        value: None,
        value_from: Some(source),
    }
}

fn mounts(pool: &Pool) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = Vec::new();
    if pool.storage.is_some() {
        mounts.push(mount(VOLUME, DATA, false));
    }
    mounts.push(mount("config", CONFIG, true));
    mounts.push(mount("tmp", "/tmp", false));
    if pool.tls.is_some() {
        mounts.push(mount("tls", TLS, true));
    }
    mounts
}

fn volumes(pool: &Pool, config: &ConfigMap) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: "config".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: config.metadata.name.clone().unwrap_or_default(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "tmp".into(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity("64Mi".into())),
                medium: None,
            }),
            ..Volume::default()
        },
    ];
    if let Some(tls) = &pool.tls {
        volumes.push(Volume {
            name: "tls".into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(tls.secret_name.clone()),
                // A private key: for the member's own group, nobody else.
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    volumes
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("health".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
