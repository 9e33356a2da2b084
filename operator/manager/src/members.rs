//! What the members say of themselves, and what they are asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use quorate_client::{Client, Identity, Resolver, Timeouts, TlsError};
use quorate_engine::Failure;
use quorate_plan::{Answer, admin_address, health_address};
use quorate_wire::MemberRequest;

/// A member that is cut off must not hold up the rest of its group for long.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The client for the members' health listeners, which are plain. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Status(Client);

impl Status {
    pub fn new() -> Result<Self, TlsError> {
        let timeouts = Timeouts {
            connect: TIMEOUT,
            read: TIMEOUT,
            change: TIMEOUT,
        };
        Client::new(Resolver::System, None, timeouts).map(Self)
    }

    /// Asks all pods that have an address at once.
    pub async fn of(&self, pods: &BTreeMap<String, Pod>) -> BTreeMap<String, Answer> {
        let asked = pods.iter().filter_map(|(name, pod)| {
            let health = health_address(pod)?.to_string();
            let pod_uid = pod.metadata.uid.clone()?;
            Some(async move {
                let status = self.0.status(&health).await;
                let answer = Answer {
                    pod_uid,
                    at: Timestamp::now(),
                    status: status.map_err(|error| error.to_string()),
                };
                (name.clone(), answer)
            })
        });
        join_all(asked).await.into_iter().collect()
    }
}

/// The members' admin listeners of one resource.
#[derive(Default)]
pub(crate) struct Admin {
    /// The pods' addresses by their DNS names: by name are they certified, and DNS may lag behind or be none of ours.
    addresses: Arc<Mutex<BTreeMap<String, IpAddr>>>,
    /// With the certificates that it was made with.
    client: Option<(Option<Identity>, Client)>,
}

impl Admin {
    /// Asks a pod's member for a change.
    pub async fn ask(
        &mut self,
        pod: &Pod,
        cluster_domain: &str,
        identity: Option<Identity>,
        request: &MemberRequest,
    ) -> Result<(), Failure> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let (Some(admin), Some(health)) = (admin_address(pod, cluster_domain), health_address(pod))
        else {
            return Err(Failure::Unavailable(format!(
                "pod {name} has no address or no port `admin` yet"
            )));
        };
        let host = admin.rsplit_once(':').map_or(&*admin, |(host, _)| host);
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(host.to_owned(), health.ip());
        let answer = self.client(identity)?.ask(&admin, request).await;
        answer
            .map(drop)
            .map_err(|error| Failure::of_member(name, error.problem(), &error))
    }

    fn client(&mut self, identity: Option<Identity>) -> Result<Client, Failure> {
        if let Some((made_with, client)) = &self.client
            && *made_with == identity
        {
            return Ok(client.clone());
        }
        let addresses = Arc::clone(&self.addresses);
        let resolver = Resolver::table(move |name| {
            let addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner);
            addresses.get(name).copied()
        });
        let client = Client::new(resolver, identity.as_ref(), Timeouts::default())
            .map_err(|error| Failure::Unavailable(format!("the certificates: {error}")))?;
        self.client = Some((identity, client.clone()));
        Ok(client)
    }
}

/// The certificates in a Secret, as they are now.
pub(crate) async fn identity(secrets: &Api<Secret>, name: &str) -> Result<Identity, Failure> {
    let secret = secrets
        .get_opt(name)
        .await
        .map_err(|error| Failure::Unavailable(format!("Secret `{name}`: {error}")))?;
    let mut data = secret
        .ok_or_else(|| {
            Failure::Unavailable(format!(
                "there is no Secret `{name}` with the certificates; apply it"
            ))
        })?
        .data
        .unwrap_or_default();
    Identity::of(|key| data.remove(key).map(|bytes| bytes.0))
        .map_err(|key| Failure::Unavailable(format!("Secret `{name}` has no {key}; add it")))
}
