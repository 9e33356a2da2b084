//! A member's health and admin listeners, at its pod's address.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use quorate_plan::testing::group::Refused;
use quorate_wire::{GroupRequest, PROBLEM_BASE, Problem};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::members::{Member, Members};

const PORTS: [u16; 2] = [7072, 7073];

/// Serves until the set is dropped, and with it every connection.
pub async fn serve(
    member: &Member,
    members: &Arc<Mutex<Members>>,
    address: IpAddr,
) -> Result<JoinSet<()>> {
    let mut serving = JoinSet::new();
    for port in PORTS {
        let listener = TcpListener::bind((address, port)).await?;
        let (member, members) = (member.clone(), Arc::clone(members));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (member, members) = (member.clone(), Arc::clone(&members));
                let service = service_fn(move |request| {
                    let (member, members) = (member.clone(), Arc::clone(&members));
                    async move { Ok::<_, Infallible>(answer(&member, &members, request).await) }
                });
                connections
                    .spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                while connections.try_join_next().is_some() {}
            }
        });
    }
    Ok(serving)
}

async fn answer(
    member: &Member,
    members: &Mutex<Members>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.method() == Method::GET {
        let status = members.lock().unwrap().status(member);
        return match status {
            Some(status) => respond(200, &status),
            None => refuse(503, "this member has gone"),
        };
    }
    let request = match read(request).await {
        Ok(request) => request,
        Err(error) => return refuse(400, &format!("{error:#}")),
    };
    let answer = members.lock().unwrap().ask(member, &request);
    match answer {
        Ok(configuration) => respond(200, &configuration),
        Err(refused) => {
            let status = match refused {
                Refused::NotLeader | Refused::Gone => 503,
                Refused::NoSuchMember => 404,
                Refused::OtherConfiguration | Refused::Sound => 409,
            };
            refuse(status, &format!("{refused:?}"))
        }
    }
}

async fn read(request: Request<Incoming>) -> Result<GroupRequest> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&body)?;
    let path_of_request = path.trim_start_matches("/admin/");
    GroupRequest::read(path_of_request, &body).with_context(|| format!("there is no {path}"))
}

fn respond(status: u16, body: &impl Serialize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(serde_json::to_vec(body).unwrap()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn refuse(status: u16, words: &str) -> Response<Full<Bytes>> {
    let problem = Problem {
        kind: format!("{PROBLEM_BASE}simulated"),
        title: words.into(),
        status,
        detail: words.into(),
        field: None,
        leader: None,
    };
    respond(status, &problem)
}
