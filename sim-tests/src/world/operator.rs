//! The operator's desk: asks the hubs for moves, states of peers, comparisons and who is of the group, through any hub
//! that answers.
//!
//! Runs on a machine of its own on the simulated network. Never repeats an order that may have been taken.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use hyper_util::rt::TokioIo;
use loop_proto::v1::{
    self, PeerState, admin_service_client::AdminServiceClient, command, from_leader,
    hub_service_client::HubServiceClient, to_leader,
};
use parking_lot::Mutex;
use prost::Message;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use super::{
    hosts::{ADMIN_TOKEN, GROUP_SECRET, Roster, Tuning},
    ledger::Ledger,
    net::{GRPC_PORT, Net},
    trace::Trace,
};
use crate::invariants::{Invariants, Told};

/// How long an order may take at one hub.
const WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Something to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A forum's replica is to go from one peer to another.
    Move {
        /// The forum's id.
        forum: u32,
        /// Who holds it; 0: nobody goes, it is one replica more.
        from: u32,
        /// Who is to.
        to: u32,
    },
    /// What is to become of a peer.
    State(u32, PeerState),
    /// Compare a forum's replicas.
    Verify(u32),
    /// Tell who is of the group.
    Members,
    /// Tell which copies are live.
    LiveCopies,
    /// Take a hub out of the group, for ever.
    RemoveHub(u64),
    /// No order of an operator's: what a hub proposes that led until a moment ago, and does not know who has gone since.
    LetGo {
        /// The forum's id.
        forum: u32,
        /// Whose replica is to end.
        peer: u32,
    },
}

/// Orders that wait, and what became of those that were given. Clones share it.
#[derive(Clone)]
pub struct Desk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    orders: VecDeque<Order>,
    busy: bool,
    /// Forums whose replicas were found equal since the last time that was asked.
    equal: BTreeSet<u32>,
    /// The group's voters when that was last asked.
    voters: Vec<u64>,
    /// Hubs that are out of the group.
    removed: BTreeSet<u64>,
    /// How often it was ordered that something changes.
    changes: u64,
    /// What was told of live copies.
    told: Option<Told>,
    /// Forums that were ordered to move.
    moved: BTreeSet<u32>,
    /// What was ordered to become of peers, the last word about each.
    states: BTreeMap<u32, PeerState>,
}

impl Desk {
    /// Nothing to do yet.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Gives an order.
    pub fn order(&self, order: Order) {
        let mut inner = self.0.lock();
        inner.changes += u64::from(!matches!(order, Order::Verify(_) | Order::Members | Order::LiveCopies));
        match order {
            Order::Move { forum, .. } => {
                inner.moved.insert(forum);
            }
            Order::State(peer, state) => {
                inner.states.insert(peer, state);
            }
            _ => {}
        }
        inner.orders.push_back(order);
    }

    /// Whether a forum was ever ordered to move.
    pub fn has_moved(&self, forum: u32) -> bool {
        self.0.lock().moved.contains(&forum)
    }

    /// What was last ordered to become of a peer.
    pub fn state_of(&self, peer: u32) -> PeerState {
        self.0.lock().states.get(&peer).copied().unwrap_or(PeerState::Active)
    }

    /// How often it was ordered that something changes.
    pub fn orders(&self) -> u64 {
        self.0.lock().changes
    }

    /// Whether everything ordered has come to something.
    pub fn is_idle(&self) -> bool {
        let inner = self.0.lock();
        inner.orders.is_empty() && !inner.busy
    }

    /// Whether a forum's replicas were found equal since that was asked last.
    pub fn take_equal(&self, forum: u32) -> bool {
        self.0.lock().equal.remove(&forum)
    }

    /// The group's voters when that was last asked.
    pub fn voters(&self) -> Vec<u64> {
        self.0.lock().voters.clone()
    }

    /// What was told of live copies since that was asked last.
    pub fn take_told(&self) -> Option<Told> {
        self.0.lock().told.take()
    }

    /// Whether a hub was taken out of the group.
    pub fn is_removed(&self, hub: u64) -> bool {
        self.0.lock().removed.contains(&hub)
    }
}

/// The machine the operator sits at.
#[derive(Clone)]
pub struct Operator {
    /// Where orders come from.
    pub desk: Desk,
    /// Its way to the network.
    pub net: Net,
    /// The hubs there are.
    pub hubs: Roster,
    /// What happened.
    pub trace: Trace,
    /// What must hold.
    pub invariants: Invariants,
    /// What the hubs agreed on.
    pub ledger: Ledger,
    /// How the hubs are set up.
    pub tuning: Arc<Mutex<Tuning>>,
}

impl Operator {
    /// Carries out orders, one after the other, for ever.
    pub async fn sit(self) -> turmoil::Result {
        let mut clients: BTreeMap<String, AdminServiceClient<Channel>> = BTreeMap::new();
        for turn in 0.. {
            let order = {
                let mut inner = self.desk.0.lock();
                let order = inner.orders.pop_front();
                inner.busy = order.is_some();
                order
            };
            let Some(order) = order else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            if let Order::LetGo { forum, peer } = order {
                self.propose_to_let_go(forum, peer, turn as u64).await;
                continue;
            }
            let hubs = self.hubs.names();
            let name = &hubs[turn % hubs.len()];
            if !clients.contains_key(name) {
                clients.insert(name.clone(), AdminServiceClient::new(channel(&self.net, name)?));
            }
            let asked = tokio::time::timeout(WITHIN, self.carry_out(order, clients[name].clone()));
            match asked.await {
                Ok(Ok(what)) => self.trace.tell("operator", &format!("{order:?}: {what}")),
                Ok(Err(status)) => {
                    self.trace.tell("operator", &format!("{order:?}: no, {}", status.message()))
                }
                Err(_) => self.trace.tell("operator", &format!("{order:?}: no answer")),
            }
        }
        Ok(())
    }

    async fn carry_out(&self, order: Order, mut hub: AdminServiceClient<Channel>) -> Result<String, Status> {
        match order {
            Order::Move { forum, from, to } => {
                let request = v1::MoveForumRequest {
                    forum_id: forum,
                    from_peer: from,
                    to_peer: to,
                    ..Default::default()
                };
                let reply = hub.move_forum(signed(request)).await?.into_inner();
                Ok(format!("invitation {}", reply.invitation_id))
            }
            Order::State(peer_id, state) => {
                let request = v1::ChangePeerStateRequest { peer_id, state: state.into() };
                hub.change_peer_state(signed(request)).await?;
                Ok("done".into())
            }
            Order::Verify(forum) => self.verify(forum, hub).await,
            Order::Members => {
                let reply = hub.status(signed(v1::StatusRequest {})).await?.into_inner();
                let voters = reply.hubs.iter().filter(|hub| hub.voter).filter_map(|hub| hub.node.as_ref());
                let voters: Vec<u64> = voters.map(|node| node.node_id).collect();
                let told = format!("voters {voters:?}, leader {:?}", reply.leader);
                if reply.leader.is_some() {
                    self.desk.0.lock().voters = voters;
                }
                Ok(told)
            }
            Order::LiveCopies => self.live_copies(hub).await,
            Order::LetGo { .. } => Err(Status::unimplemented("no operator can ask for that")),
            Order::RemoveHub(node_id) => {
                match hub.remove_hub(signed(v1::RemoveHubRequest { node_id })).await {
                    Ok(_) => {}
                    // An answer that was lost: it is out already.
                    Err(status) if status.code() == Code::NotFound => {}
                    Err(status) => return Err(status),
                }
                self.desk.0.lock().removed.insert(node_id);
                Ok("done".into())
            }
        }
    }

    /// Proposes to whichever hub leads that a replica ends, if as many others as wanted are safe.
    async fn propose_to_let_go(&self, forum: u32, peer: u32, turn: u64) {
        let body = command::Body::RemoveReplica(v1::RemoveReplica {
            forum_id: forum,
            peer_id: peer,
            passed: self.ledger.newest(),
            others_min: self.tuning.lock().replicas,
            differs: false,
        });
        let request_id = [turn.to_be_bytes(), u64::MAX.to_be_bytes()].concat().into();
        let command = v1::Command { request_id, at_ms: 0, body: Some(body) }.encode_to_vec();
        for hub in self.hubs.names() {
            let asked = tokio::time::timeout(WITHIN, self.propose(&hub, command.clone())).await;
            let Ok(Ok(Some(answer))) = asked else { continue };
            if !matches!(answer, from_leader::Kind::NotLeader(_)) {
                return self
                    .trace
                    .tell("late hub", &format!("forum {forum} without peer {peer}: {answer:?}"));
            }
        }
    }

    async fn propose(&self, hub: &str, command: Vec<u8>) -> Result<Option<from_leader::Kind>, Status> {
        let kind = Some(to_leader::Kind::Command(command.into()));
        let said = futures::stream::iter([v1::ToLeader { seq: 1, kind }]).chain(futures::stream::pending());
        let mut request = Request::new(said);
        let secret = GROUP_SECRET.parse().expect("a secret of letters");
        request.metadata_mut().insert("loop-group-secret", secret);
        let channel = channel(&self.net, hub).map_err(|error| Status::unavailable(error.to_string()))?;
        let mut answers = HubServiceClient::new(channel).propose(request).await?.into_inner();
        Ok(answers.message().await?.and_then(|answer| answer.kind))
    }

    async fn live_copies(&self, mut hub: AdminServiceClient<Channel>) -> Result<String, Status> {
        let health = hub.status(signed(v1::StatusRequest {})).await?.into_inner().health.unwrap_or_default();
        let all = v1::ListForumsRequest { limit: 1000, ..Default::default() };
        let forums = hub.list_forums(signed(all)).await?.into_inner().forums;
        let live = forums.into_iter().map(|forum| (forum.forum_id, forum.live.into_iter().collect()));
        let told = Told {
            live: live.collect(),
            without: health.forums_without_live_copy,
            with_one: health.forums_with_one_live_copy,
            seen: BTreeMap::new(),
        };
        let what = format!("{} forums without a live copy, {} with one", told.without, told.with_one);
        self.desk.0.lock().told = Some(told);
        Ok(what)
    }

    async fn verify(&self, forum: u32, mut hub: AdminServiceClient<Channel>) -> Result<String, Status> {
        let request = v1::VerifyForumRequest { forum_id: forum, ..Default::default() };
        let reply = hub.verify_forum(signed(request)).await?.into_inner();
        let told = reply.replicas.iter().filter(|replica| replica.digest.len() == 32);
        let mut digests: Vec<&[u8]> = told.map(|replica| &replica.digest[..]).collect();
        let count = digests.len();
        digests.dedup();
        if digests.len() > 1 {
            let what = format!("forum {forum}: digests differ at record {}", reply.record_id);
            self.invariants.broken("replicas agree", what);
        }
        // Of whoever is away nothing can be told.
        let silent = reply.replicas.iter().any(|replica| replica.connected && replica.digest.len() != 32);
        if !silent && count > 0 {
            self.desk.0.lock().equal.insert(forum);
        }
        Ok(format!("{count} of {} replicas told", reply.replicas.len()))
    }
}

/// The request with what shows that an operator sends it.
fn signed<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    let token = format!("Bearer {ADMIN_TOKEN}").parse().expect("a token of letters");
    request.metadata_mut().insert("authorization", token);
    request
}

fn channel(net: &Net, hub: &str) -> Result<Channel, tonic::transport::Error> {
    let net = net.clone();
    let endpoint = Endpoint::from_shared(format!("http://{hub}:{GRPC_PORT}"))?
        .connect_timeout(Duration::from_secs(1))
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2));
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
        let net = net.clone();
        async move {
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            net.dial(&authority).await.map(TokioIo::new)
        }
    })))
}
