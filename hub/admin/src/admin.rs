//! A client of the hubs' AdminService that asks each hub in turn until one answers.
//!
//! A change carries a request id, so that the next hub may be asked when one falls silent: it is made once.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use futures::stream;
use loop_net::{admin_token::authorized, io::Io, secret::Secret};
use loop_proto::{
    content::{ContentHash, PIECE_BYTES_MAX},
    v1::{self, admin_service_client::AdminServiceClient, upload_content_request},
};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};

use super::{
    error::{AdminError, Tried},
    reach::{self, Found},
};

/// Largest answer that is read, bytes: a page of forums or tasks is far below.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Forums asked for at a time.
const FORUMS_PAGE: u32 = 1000;

/// How long replicas may take to compute their digests: a large forum takes seconds.
const VERIFY_WITHIN: Duration = Duration::from_secs(60);

/// How long an upload may take: peers may be on slow lines.
const UPLOAD_WITHIN: Duration = Duration::from_secs(300);

/// How long it is looked who listens where no hub answered.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

const NO_TLS: &str = "hubs and hubctl speak without TLS: give host:port of the hub's own gRPC port, without https://, from \
                      its machine or over a private network";

type Client = AdminServiceClient<Channel>;

/// Where one hub is asked.
#[derive(Clone, Debug)]
struct Hub {
    addr: String,
    /// None where it was named with https://, which nobody speaks here.
    client: Option<Client>,
}

/// Questions to a group of hubs.
#[derive(Clone, Debug)]
pub struct Admin {
    hubs: Vec<Hub>,
    within: Duration,
    token: Option<Secret>,
}

impl Admin {
    /// For the hubs at these `host:port` gRPC addresses, with or without `http://`; `within` bounds the time each of them
    /// has for one answer. Connects when first asked. Must be called within a tokio runtime.
    pub fn new(hubs: &[String], within: Duration) -> Result<Self, AdminError> {
        let hubs = hubs.iter().map(|given| hub(given, within));
        Ok(Self { hubs: hubs.collect::<Result<_, AdminError>>()?, within, token: None })
    }

    /// The same with the token the hubs ask operators for.
    pub fn with_token(self, token: Secret) -> Result<Self, AdminError> {
        if !token.is_bearer() {
            return Err(AdminError::Usage("--admin-token is not 16 to 256 visible ASCII characters".into()));
        }
        Ok(Self { token: Some(token), ..self })
    }

    /// The group as the first hub that answers sees it.
    pub async fn status(&self) -> Result<v1::StatusReply, AdminError> {
        self.ask(v1::StatusRequest {}, |mut hub, request| async move { hub.status(request).await }).await
    }

    /// Takes a hub out of the group. The numbers of those that stay.
    pub async fn remove_hub(&self, node_id: u64) -> Result<Vec<u64>, AdminError> {
        let ask = |mut hub: Client, request| async move { hub.remove_hub(request).await };
        let reply = self.ask(v1::RemoveHubRequest { node_id }, ask).await?;
        Ok(reply.members.into_iter().map(|node| node.node_id).collect())
    }

    /// All peers that ever joined.
    pub async fn peers(&self) -> Result<Vec<v1::PeerInfo>, AdminError> {
        let ask = |mut hub: Client, request| async move { hub.list_peers(request).await };
        Ok(self.ask(v1::ListPeersRequest {}, ask).await?.peers)
    }

    /// Up to `limit` forums by id, of one peer or of all; and whether there are more.
    pub async fn forums(
        &self,
        peer: Option<u32>,
        limit: u32,
    ) -> Result<(Vec<v1::ForumInfo>, bool), AdminError> {
        self.forums_that(peer, false, limit).await
    }

    /// The same; `unhealthy`: only those with fewer live copies than wanted.
    pub async fn forums_that(
        &self,
        peer: Option<u32>,
        unhealthy: bool,
        limit: u32,
    ) -> Result<(Vec<v1::ForumInfo>, bool), AdminError> {
        let peer_id = peer.unwrap_or(0);
        let mut forums: Vec<v1::ForumInfo> = Vec::new();
        loop {
            let after = forums.last().map_or(0, |forum| forum.forum_id);
            let left = limit.saturating_sub(u32::try_from(forums.len()).unwrap_or(u32::MAX));
            let request = v1::ListForumsRequest { after, limit: left.min(FORUMS_PAGE), peer_id, unhealthy };
            let page =
                self.ask(request, |mut hub, request| async move { hub.list_forums(request).await }).await?;
            let advanced = page.forums.last().is_some_and(|last| last.forum_id > after);
            forums.extend(page.forums);
            if !page.more || !advanced || forums.len() >= limit as usize {
                return Ok((forums, page.more));
            }
        }
    }

    /// One forum.
    pub async fn forum(&self, which: v1::show_forum_request::Which) -> Result<v1::ForumInfo, AdminError> {
        let request = v1::ShowForumRequest { which: Some(which) };
        self.ask(request, |mut hub, request| async move { hub.show_forum(request).await }).await
    }

    /// Up to `limit` open tasks, oldest first, of one forum or of all.
    pub async fn tasks(&self, forum: Option<u32>, limit: u32) -> Result<Vec<v1::TaskInfo>, AdminError> {
        let request = v1::ListTasksRequest { forum_id: forum.unwrap_or(0), limit };
        let ask = |mut hub: Client, request| async move { hub.list_tasks(request).await };
        Ok(self.ask(request, ask).await?.tasks)
    }

    /// The numbers given next.
    pub async fn ids(&self) -> Result<v1::IdsReply, AdminError> {
        self.ask(v1::IdsRequest {}, |mut hub, request| async move { hub.ids(request).await }).await
    }

    /// Has peer `to` take the place of peer `from` in a forum, or be one more replica where `from` is 0. The
    /// invitation's number.
    pub async fn move_forum(&self, forum_id: u32, from: u32, to: u32) -> Result<u64, AdminError> {
        let request_id = new_request_id();
        let request = v1::MoveForumRequest { forum_id, from_peer: from, to_peer: to, request_id };
        let ask = |mut hub: Client, request| async move { hub.move_forum(request).await };
        Ok(self.ask(request, ask).await?.invitation_id)
    }

    /// Moves the forum's last completed move back. The invitation's number.
    pub async fn reverse_forum(&self, forum_id: u32) -> Result<u64, AdminError> {
        let request = v1::ReverseForumRequest { forum_id, request_id: new_request_id() };
        let ask = |mut hub: Client, request| async move { hub.reverse_forum(request).await };
        Ok(self.ask(request, ask).await?.invitation_id)
    }

    /// Says how many replicas a forum shall have; 0: as many as the hubs' default.
    pub async fn set_forum_replicas(&self, forum_id: u32, replicas: u32) -> Result<(), AdminError> {
        let request = v1::ChangeForumReplicasRequest { forum_id, replicas };
        let ask = |mut hub: Client, request| async move { hub.change_forum_replicas(request).await };
        self.ask(request, ask).await.map(drop)
    }

    /// Deletes a forum everywhere.
    pub async fn close_forum(&self, forum_id: u32) -> Result<(), AdminError> {
        let request = v1::CloseForumRequest { forum_id };
        let ask = |mut hub: Client, request| async move { hub.close_forum(request).await };
        self.ask(request, ask).await.map(drop)
    }

    /// Says what shall become of a peer.
    pub async fn set_peer_state(&self, peer_id: u32, state: v1::PeerState) -> Result<(), AdminError> {
        let request = v1::ChangePeerStateRequest { peer_id, state: state.into() };
        let ask = |mut hub: Client, request| async move { hub.change_peer_state(request).await };
        self.ask(request, ask).await.map(drop)
    }

    /// Up to `limit` invitations, newest first; `open_only`: those of which something is still to be done.
    pub async fn invitations(
        &self,
        open_only: bool,
        limit: u32,
    ) -> Result<Vec<v1::InvitationInfo>, AdminError> {
        let request = v1::ListInvitationsRequest { open_only, limit };
        let ask = |mut hub: Client, request| async move { hub.list_invitations(request).await };
        Ok(self.ask(request, ask).await?.invitations)
    }

    /// Up to `limit` users of Socket.IO clients by name, on all hubs; and whether there are more.
    pub async fn realtime_users(&self, limit: u32) -> Result<(Vec<v1::RealtimeUserInfo>, bool), AdminError> {
        let mut users: Vec<v1::RealtimeUserInfo> = Vec::new();
        loop {
            let after = users.last().map(|user| user.name.clone()).unwrap_or_default();
            let left = limit.saturating_sub(u32::try_from(users.len()).unwrap_or(u32::MAX));
            let ask = |mut hub: Client, request| async move { hub.list_realtime_users(request).await };
            let page = self.ask(v1::ListRealtimeUsersRequest { after, limit: left }, ask).await?;
            let advanced = !page.users.is_empty();
            users.extend(page.users);
            if !page.more || !advanced || users.len() >= limit as usize {
                return Ok((users, page.more));
            }
        }
    }

    /// Up to `limit` Socket.IO connections of the hub that answers, oldest first; `more` of the last page.
    pub async fn realtime_connections(
        &self,
        limit: u32,
    ) -> Result<v1::ListRealtimeConnectionsReply, AdminError> {
        let mut all = v1::ListRealtimeConnectionsReply::default();
        loop {
            let after = all.connections.last().map_or(0, |connection| connection.connection_id);
            let left = limit.saturating_sub(u32::try_from(all.connections.len()).unwrap_or(u32::MAX));
            let ask = |mut hub: Client, request| async move { hub.list_realtime_connections(request).await };
            let page = self.ask(v1::ListRealtimeConnectionsRequest { after, limit: left }, ask).await?;
            let same = all.hub_id == 0 || all.hub_id == page.hub_id;
            if !same {
                // That hub fell silent; the numbers of another one mean other connections.
                all = v1::ListRealtimeConnectionsReply::default();
                continue;
            }
            let advanced = !page.connections.is_empty();
            (all.hub_id, all.more) = (page.hub_id, page.more);
            all.connections.extend(page.connections);
            if !all.more || !advanced || all.connections.len() >= limit as usize {
                return Ok(all);
            }
        }
    }

    /// What balance would do now, most urgent first.
    pub async fn plan(&self) -> Result<v1::ShowPlanReply, AdminError> {
        let ask = |mut hub: Client, request| async move { hub.show_plan(request).await };
        self.ask(v1::ShowPlanRequest {}, ask).await
    }

    /// The digests of all serving replicas of a forum at one position of the log. Replicas may take a minute.
    pub async fn verify_forum(&self, forum_id: u32) -> Result<v1::VerifyForumReply, AdminError> {
        self.verify_forum_within(forum_id, VERIFY_WITHIN).await
    }

    /// The same, with the time replicas may take.
    pub async fn verify_forum_within(
        &self,
        forum_id: u32,
        within: Duration,
    ) -> Result<v1::VerifyForumReply, AdminError> {
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX).max(1);
        let request = v1::VerifyForumRequest { forum_id, within_ms };
        let patient = Self { within: self.within.saturating_add(within), ..self.clone() };
        patient.ask(request, |mut hub, request| async move { hub.verify_forum(request).await }).await
    }

    /// How far the rows in MySQL are, of the first hub that answers.
    pub async fn projection(&self) -> Result<v1::ShowProjectionReply, AdminError> {
        let ask = |mut hub: Client, request| async move { hub.show_projection(request).await };
        self.ask(v1::ShowProjectionRequest {}, ask).await
    }

    /// Has that hub make its rows anew.
    pub async fn rebuild_projection(
        &self,
        within: Duration,
    ) -> Result<v1::RebuildProjectionReply, AdminError> {
        let ask = |mut hub: Client, request| async move { hub.rebuild_projection(request).await };
        Self { within, ..self.clone() }.ask(v1::RebuildProjectionRequest {}, ask).await
    }

    /// Has that hub compare its rows with what it has applied.
    pub async fn verify_projection(&self, within: Duration) -> Result<v1::VerifyProjectionReply, AdminError> {
        let ask = |mut hub: Client, request| async move { hub.verify_projection(request).await };
        Self { within, ..self.clone() }.ask(v1::VerifyProjectionRequest {}, ask).await
    }

    /// What is published at paths that begin so.
    pub async fn content(&self, prefix: &str) -> Result<Vec<v1::ContentInfo>, AdminError> {
        let mut files: Vec<v1::ContentInfo> = Vec::new();
        loop {
            let last = files.last().and_then(|info| info.entry.as_ref());
            let after = last.map(|entry| entry.path.clone()).unwrap_or_default();
            let request = v1::ListContentRequest { after, limit: 0, prefix: prefix.to_owned() };
            let page =
                self.ask(request, |mut hub, request| async move { hub.list_content(request).await }).await?;
            let advanced = !page.files.is_empty();
            files.extend(page.files);
            if !page.more || !advanced {
                return Ok(files);
            }
        }
    }

    /// Has peers keep a file that is to be published. Which ones do.
    pub async fn upload_content(
        &self,
        path: &str,
        hash: ContentHash,
        body: Bytes,
    ) -> Result<Vec<u32>, AdminError> {
        let (sha256, size) = (hash.to_bytes(), body.len() as u64);
        let head = v1::UploadHead { path: path.to_owned(), sha256, size };
        let patient = Self { within: self.within.saturating_add(UPLOAD_WITHIN), ..self.clone() };
        let ask = |mut hub: Client, request: Request<(v1::UploadHead, Bytes)>| async move {
            hub.upload_content(request.map(|(head, body)| stream::iter(upload(head, &body)))).await
        };
        Ok(patient.ask((head, body), ask).await?.holders)
    }

    /// Has the hubs serve what was uploaded.
    pub async fn publish_content(&self, entries: Vec<v1::ContentEntry>) -> Result<(), AdminError> {
        let ask = |mut hub: Client, request| async move { hub.publish_content(request).await };
        self.ask(v1::PublishContentRequest { entries }, ask).await.map(drop)
    }

    /// Has the hubs serve these paths no more.
    pub async fn remove_content(&self, paths: Vec<String>) -> Result<(), AdminError> {
        let ask = |mut hub: Client, request| async move { hub.remove_content(request).await };
        self.ask(v1::RemoveContentRequest { paths }, ask).await.map(drop)
    }

    /// Asks each hub until one answers. A hub that cannot be reached or is not serving is passed over; any other
    /// refusal would be every hub's, so it ends the asking.
    async fn ask<M, T, F, A>(&self, message: M, question: A) -> Result<T, AdminError>
    where
        M: Clone,
        A: Fn(Client, Request<M>) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut tried = Vec::new();
        for Hub { addr, client } in &self.hubs {
            let hub = addr.clone();
            let Some(client) = client else {
                tried.push(Tried { hub, why: NO_TLS.to_owned() });
                continue;
            };
            let mut request = authorized(Request::new(message.clone()), self.token.as_ref());
            request.set_timeout(self.within);
            let answer = tokio::time::timeout(self.within, question(client.clone(), request)).await;
            let status = match answer {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {:?}", self.within)),
            };
            match self.no_hub_there(addr, &status).await {
                Some(why) => tried.push(Tried { hub, why }),
                None => match refusal(addr, &status) {
                    Some(no) => return Err(no),
                    None => tried.push(Tried { hub, why: reason(&status) }),
                },
            }
        }
        Err(AdminError::Unreachable { tried })
    }

    /// What is wrong with the address, where the failure may not be a hub's word and somebody else is found there.
    async fn no_hub_there(&self, addr: &str, status: &Status) -> Option<String> {
        let odd = matches!(
            status.code(),
            Code::Internal | Code::Unimplemented | Code::Unknown | Code::DeadlineExceeded
        );
        let not_of_grpc = status.message().starts_with("grpc-status header missing");
        if !odd && !not_of_grpc && std::error::Error::source(status).is_none() {
            return None;
        }
        let found = reach::look(addr, self.within.min(LOOK_WITHIN)).await;
        match found {
            Found::Grpc if status.code() == Code::Unimplemented => Some(
                "it speaks gRPC and does not know this question: it is no hub, or one of another version"
                    .to_owned(),
            ),
            found => found.words(addr),
        }
    }
}

/// A hub's no; `None`: it could not answer, and another one may.
fn refusal(addr: &str, status: &Status) -> Option<AdminError> {
    let message = status.message().to_owned();
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => None,
        Code::NotFound => Some(AdminError::NotFound(message)),
        code => Some(AdminError::Refused { hub: addr.to_owned(), code: format!("{code:?}"), message }),
    }
}

/// A hub by the address an operator gives. A scheme is not needed and does no harm.
fn hub(given: &str, within: Duration) -> Result<Hub, AdminError> {
    let bare = given.trim_end_matches('/');
    match (bare.strip_prefix("http://"), bare.strip_prefix("https://")) {
        (_, Some(_)) => Ok(Hub { addr: given.to_owned(), client: None }),
        (Some(addr), _) => Ok(Hub { addr: addr.to_owned(), client: Some(client(addr, within)?) }),
        (None, None) => Ok(Hub { addr: bare.to_owned(), client: Some(client(bare, within)?) }),
    }
}

fn client(addr: &str, within: Duration) -> Result<Client, AdminError> {
    let wrong = |why: &str| AdminError::Address { addr: addr.to_owned(), why: why.to_owned() };
    if let Some((scheme, _)) = addr.split_once("://") {
        return Err(wrong(&format!("{scheme}:// is nothing a hub speaks")));
    }
    let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    let port = port.ok_or_else(|| wrong("no port"))?;
    if port.parse::<u16>().is_err() {
        return Err(wrong("the port is not a number below 65536"));
    }
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|_| wrong("not host:port"))?;
    let channel = endpoint.connect_timeout(within).tcp_nodelay(true).connect_lazy();
    Ok(AdminServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// A file as it goes to a hub.
fn upload(head: v1::UploadHead, body: &Bytes) -> Vec<v1::UploadContentRequest> {
    use upload_content_request::Kind;
    let pieces = (0..body.len()).step_by(PIECE_BYTES_MAX);
    let data = pieces.map(|from| body.slice(from..(from + PIECE_BYTES_MAX).min(body.len())));
    let kinds = std::iter::once(Kind::Head(head)).chain(data.map(Kind::Data));
    kinds.map(|kind| v1::UploadContentRequest { kind: Some(kind) }).collect()
}

/// Names one change, for whichever hub is asked for it.
fn new_request_id() -> bytes::Bytes {
    Io::system().random_id().to_vec().into()
}

/// The innermost cause, which is the one that helps ("connection refused").
fn reason(status: &Status) -> String {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_with_an_example() {
        for addr in [
            "",
            "localhost",
            ":9080",
            "localhost:port",
            "host:99999",
            "a b:1",
            "http://h",
            "ftp://h:1",
            "http://",
        ] {
            let error = Admin::new(&[addr.to_owned()], Duration::from_secs(1)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{addr:?}");
            assert!(error.to_string().contains("127.0.0.1:9080"), "{error}");
        }
        for addr in ["[::1]:9080", "http://127.0.0.1:9080", "http://hub.example.org:9080/"] {
            Admin::new(&[addr.to_owned()], Duration::from_secs(1)).unwrap();
        }
    }

    /// The one line about the one hub that was asked.
    async fn said_of(addr: &str) -> String {
        let admin = Admin::new(&[addr.to_owned()], Duration::from_secs(5)).unwrap();
        let error = admin.status().await.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        error.to_string().lines().nth(1).unwrap().to_owned()
    }

    #[tokio::test]
    async fn an_address_at_which_no_hub_speaks_grpc_gets_a_sentence() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        #[expect(clippy::disallowed_methods, reason = "the server of this story")]
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _read = stream.read(&mut [0; 512]).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nalive\n").await.unwrap();
            }
        });
        let http = said_of(&addr.to_string()).await;
        assert!(http.contains("a hub's HTTP port") && http.contains("--grpc-listen"), "{http}");
        let scheme = said_of("https://127.0.0.1:9080").await;
        assert!(scheme.contains("without TLS") && scheme.contains("host:port"), "{scheme}");
        let name = said_of("http://no-such-machine.invalid:9080").await;
        assert!(name.contains("no machine is called no-such-machine.invalid"), "{name}");
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_one_is_refused_and_never_shown() {
        let admin = || Admin::new(&["127.0.0.1:9080".to_owned()], Duration::from_secs(1)).unwrap();
        for token in ["", "too-short", "with a space in the middle", "new\nline-in-the-middle"] {
            let error = admin().with_token(Secret::from(token.to_owned())).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{token:?}");
            assert!(token.is_empty() || !error.to_string().contains(token));
        }
        let token = "0123456789abcdef-fine";
        let admin = admin().with_token(Secret::from(token.to_owned())).unwrap();
        assert!(!format!("{admin:?}").contains(token));
    }

    #[tokio::test]
    async fn every_hub_that_did_not_answer_is_listed_with_its_reason() {
        let hubs = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let admin = Admin::new(&hubs, Duration::from_secs(2)).unwrap();
        let error = admin.status().await.unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:1: ") && text.contains("127.0.0.1:2: "), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
}
