//! The admin API of a group: its changes, for the operator. Every answer to a change is the configuration that is in
//! force then, or problem details; a member that does not lead answers 503 and names who does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode, Uri};
use quorate_group_core::{Reply, Request};
use quorate_node::address::{name_fault, peer_address_fault};
use quorate_node::http::body;
use quorate_node::http::problem::{Refusal, bad_request, internal, no_such_method, no_such_path};
use quorate_raft::{Change, Contact, MemberId};
use quorate_wire::{
    AddLearner, Bootstrap, ChangeMember, ConfigurationStatus, SetAside, TransferLeader,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::access::GroupAccess;
use crate::problems::refused;
use crate::status::parse_id;

/// Told to who asks for something else.
const API: &str = "/admin/bootstrap, /admin/members, /admin/members/{id}/promote, /admin/members/{id}/remove, \
                   /admin/leader, /admin/snapshot and /admin/set-aside";

type Answer = Result<Json<ConfigurationStatus>, Refusal>;
type Member = Result<Path<String>, PathRejection>;

/// No body of a change comes near this.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The body of a change.
struct Asked<T>(T);

impl<G: GroupAccess, T: DeserializeOwned> FromRequest<Arc<Admin<G>>> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(
        request: axum::extract::Request,
        admin: &Arc<Admin<G>>,
    ) -> Result<Self, Refusal> {
        // A page in somebody's browser can send a body here, but not under this type.
        if !is_json(request.headers()) {
            return Err(bad_request("content-type", "It must be application/json."));
        }
        let limit_name = "the size of such a body";
        let bytes = body::read(
            request.into_body(),
            admin.patience,
            MAX_BODY_BYTES,
            limit_name,
        )
        .await?;
        body::object(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let told = headers
        .get(CONTENT_TYPE)
        .and_then(|told| told.to_str().ok())
        .unwrap_or_default();
    let kind = told.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// What the handlers share.
pub struct Admin<G> {
    group: G,
    patience: Duration,
}

impl<G: GroupAccess> Admin<G> {
    /// The admin API of a group. A change that is not done within `patience` is answered as unknown.
    pub fn new(group: G, patience: Duration) -> Self {
        Self { group, patience }
    }

    /// The routes of the admin listener.
    pub fn routes(self) -> Router {
        let method = |method: Method| async move { no_such_method(method.as_str()) };
        Router::new()
            .route("/admin/bootstrap", post(bootstrap::<G>).fallback(method))
            .route(
                "/admin/members",
                get(members::<G>).post(add::<G>).fallback(method),
            )
            .route(
                "/admin/members/{id}/promote",
                post(promote::<G>).fallback(method),
            )
            .route(
                "/admin/members/{id}/remove",
                post(remove::<G>).fallback(method),
            )
            .route("/admin/leader", post(transfer::<G>).fallback(method))
            .route("/admin/snapshot", post(snapshot::<G>).fallback(method))
            .route("/admin/set-aside", post(set_aside::<G>).fallback(method))
            .fallback(|uri: Uri| async move { no_such_path(uri.path(), API) })
            .with_state(Arc::new(self))
    }

    async fn change(&self, request: Request) -> Answer {
        let reply = tokio::time::timeout(self.patience, self.group.request(request))
            .await
            .unwrap_or(Reply::Unknown);
        match reply {
            Reply::Done | Reply::Transferred(true) => Ok(self.configuration()),
            Reply::Transferred(false) => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "transfer-timed-out",
                "Nobody took over in time",
                "The successor did not catch up within an election timeout, so it was not told to take over. Try again.",
            )
            .retry_after(self.patience)),
            Reply::Refused(why) => {
                // The operator asks members by their names.
                let leader = self.group.leader(&why).map(|leader| leader.name);
                Err(refused(why, leader))
            }
            Reply::Unknown => Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "outcome-unknown",
                "Outcome unknown",
                "The change may have been made, or may be made later. Read /status and decide anew.",
            )),
            Reply::Ready | Reply::Stale { .. } | Reply::Outcome { .. } => Err(internal("The group's reply does not fit the request.")),
        }
    }

    fn configuration(&self) -> Json<ConfigurationStatus> {
        Json(
            self.group
                .status()
                .map(|status| status.configuration)
                .unwrap_or_default(),
        )
    }
}

async fn bootstrap<G: GroupAccess>(
    State(admin): State<Arc<Admin<G>>>,
    Asked(body): Asked<Bootstrap>,
) -> Answer {
    let Bootstrap { group, incarnation } = body;
    let only = admin.group.id();
    if group != only {
        return Err(bad_request(
            "group",
            format!("There is only the group {only} here."),
        ));
    }
    let incarnation = id(&incarnation, "incarnation")?;
    admin.change(Request::Bootstrap { incarnation }).await
}

async fn members<G: GroupAccess>(State(admin): State<Arc<Admin<G>>>) -> Json<ConfigurationStatus> {
    admin.configuration()
}

async fn add<G: GroupAccess>(
    State(admin): State<Arc<Admin<G>>>,
    Asked(body): Asked<AddLearner>,
) -> Answer {
    let AddLearner {
        configuration_index,
        id: learner,
        name,
        address,
    } = body;
    let learner = id(&learner, "id")?;
    // The configuration keeps both, and every member dials the address: what cannot be one must not get in.
    if let Some(fault) = name_fault(&name) {
        return Err(bad_request("name", format!("It {fault}.")));
    }
    if let Some(fault) = peer_address_fault(&address) {
        return Err(bad_request("address", format!("It {fault}.")));
    }
    let change = Change::AddLearner(learner, Contact { name, address });
    admin
        .change(Request::Change {
            expected: configuration_index,
            change,
        })
        .await
}

async fn promote<G: GroupAccess>(
    State(admin): State<Arc<Admin<G>>>,
    member: Member,
    Asked(body): Asked<ChangeMember>,
) -> Answer {
    let promote = BTreeSet::from([member_id(member)?]);
    let change = Change::Reconfigure {
        promote,
        remove: BTreeSet::new(),
    };
    admin
        .change(Request::Change {
            expected: body.configuration_index,
            change,
        })
        .await
}

async fn remove<G: GroupAccess>(
    State(admin): State<Arc<Admin<G>>>,
    member: Member,
    Asked(body): Asked<ChangeMember>,
) -> Answer {
    let remove = BTreeSet::from([member_id(member)?]);
    let change = Change::Reconfigure {
        promote: BTreeSet::new(),
        remove,
    };
    admin
        .change(Request::Change {
            expected: body.configuration_index,
            change,
        })
        .await
}

async fn transfer<G: GroupAccess>(
    State(admin): State<Arc<Admin<G>>>,
    Asked(body): Asked<TransferLeader>,
) -> Answer {
    let to = body.to.map(|to| id(&to, "to")).transpose()?;
    admin.change(Request::Transfer { to }).await
}

async fn set_aside<G: GroupAccess>(
    State(admin): State<Arc<Admin<G>>>,
    Asked(body): Asked<SetAside>,
) -> Answer {
    let incarnation = id(&body.incarnation, "incarnation")?;
    admin.change(Request::SetAside { incarnation }).await
}

/// The body of a change that needs to be told nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn snapshot<G: GroupAccess>(
    State(admin): State<Arc<Admin<G>>>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Answer {
    admin.change(Request::Snapshot).await
}

/// What is not UTF-8 is no identity either.
fn member_id(member: Member) -> Result<MemberId, Refusal> {
    id(&member.map(|Path(id)| id).unwrap_or_default(), "id")
}

fn id(text: &str, field: &str) -> Result<MemberId, Refusal> {
    parse_id(text).ok_or_else(|| {
        bad_request(
            field,
            "It is no identity: 16 hexadecimal digits, as /status shows it.",
        )
    })
}
