//! One request, from head to answer. Owns the order of things; the parts know the rules.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header::EXPECT, request::Parts};
use hyper::body::{Body, Incoming};
use loop_atomjump::is_robot;
use loop_proto::{ids::ForumKey, php_params::Params, v1::Endpoint};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    answer::{self, Answer},
    answer_body::AnswerBody,
    body::{Bodies, Form},
    config::HttpConfig,
    measure,
    mount::Mount,
    outside::Outside,
    pages, readiness,
    route::{self, Route},
    session::{Cookies, Session},
    shim::{self, Call, Head, Parsed, Refusal, Rules},
    statics::Statics,
    watching::{self, Watching},
};
use crate::gateway::{CallError, Gateway};

/// Everything a request needs.
pub struct Edge {
    config: HttpConfig,
    rules: Rules,
    gateway: Arc<dyn Gateway>,
    mount: Option<Arc<dyn Mount>>,
    outside: Arc<dyn Outside>,
    prometheus: PrometheusHandle,
    statics: Statics,
    bodies: Bodies,
    slots: Semaphore,
    watching: Watching,
}

/// An answer, and what is noted about it.
struct Answered {
    answer: Answer,
    label: &'static str,
    forum: Option<ForumKey>,
    /// The body nobody read.
    unread: Option<Incoming>,
}

impl Edge {
    /// Fails if the operator's folder of files cannot be opened.
    pub fn new(
        config: HttpConfig,
        gateway: Arc<dyn Gateway>,
        mount: Option<Arc<dyn Mount>>,
        outside: Arc<dyn Outside>,
        prometheus: PrometheusHandle,
        shutdown: CancellationToken,
    ) -> io::Result<Self> {
        let rules = Rules {
            url_bytes_max: config.url_bytes_max,
            params: config.params,
            trust_proxy: config.trust_proxy,
            public_url: config.public_url.clone(),
        };
        Ok(Self {
            rules,
            statics: Statics::new(&config, gateway.clone())?,
            bodies: Bodies::new(config.form_bytes_max, config.form_bytes_total_max, config.body_timeout),
            slots: Semaphore::new(config.requests_max.min(Semaphore::MAX_PERMITS)),
            watching: Watching::new(config.watchers_max, shutdown),
            config,
            gateway,
            mount,
            outside,
            prometheus,
        })
    }

    /// How the edge is configured.
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let began = Instant::now();
        let _held = measure::Held::request();
        if let Some(mount) = self.mount.as_ref().filter(|_| route::is_realtime(request.uri().path())) {
            let answer = mount.answer(request).await.map(AnswerBody::from);
            measure::counted(route::label(Route::Realtime), answer.status().as_u16());
            return answer::dated(answer, self.outside.unix_seconds());
        }
        let (parts, body) = request.into_parts();
        let Answered { answer, label, forum, unread } = self.dispatch(&parts, body).await;
        if let Some(body) = unread.filter(|body| !body.is_end_stream() && !waits_for_continue(&parts)) {
            self.bodies.discard(body).await;
        }
        measure::answered(label, answer.status().as_u16(), forum, began.elapsed());
        answer::finish(answer, parts.method == Method::HEAD, self.outside.unix_seconds())
    }

    async fn dispatch(&self, parts: &Parts, body: Incoming) -> Answered {
        let head = match shim::head(parts, &self.rules) {
            Ok(head) => head,
            Err(refusal) => return simple(answer::refused(refusal), "refused", Some(body)),
        };
        let label = route::label(head.route);
        let answer = match head.route {
            Route::Peer(endpoint) => return self.scripted(parts, &head, endpoint, body).await,
            Route::Watch => self.watch(parts, &head).await,
            Route::File => self.file(parts, &head).await,
            Route::Front => pages::front(&self.config, &head.base_url, &self.gateway.hub_http_addrs()),
            Route::RealtimePage if self.mount.is_some() => {
                pages::realtime(&head.base_url, &self.gateway.hub_http_addrs())
            }
            Route::MultiPage if self.mount.is_some() => pages::multi(self.gateway.hub_http_addrs().len()),
            Route::RealtimePage | Route::MultiPage => answer::no_such_script(),
            Route::Running => pages::running(&head.base_url, self.outside.unix_seconds()),
            Route::InitSessions => self.init_sessions(parts),
            Route::CheckStatus if self.gateway.serving() => {
                answer::with_body(StatusCode::OK, answer::HTML, "")
            }
            Route::CheckStatus => answer::unserved(&CallError::NoPeer),
            Route::Health => answer::sentence(StatusCode::OK, "alive"),
            Route::Ready => readiness::answer(&self.gateway.health(), &parts.headers),
            Route::Metrics => answer::sentence(StatusCode::OK, self.prometheus.render()),
            Route::NotBuilt => answer::not_built(),
            Route::NoSuchScript | Route::Realtime => answer::no_such_script(),
        };
        simple(answer, label, Some(body))
    }

    async fn file(&self, parts: &Parts, head: &Head<'_>) -> Answer {
        match self.slots.try_acquire() {
            Ok(_slot) => self.statics.answer(parts, head, &self.config).await,
            Err(_) => answer::crowded(),
        }
    }

    /// One of AtomJump's scripts.
    async fn scripted(&self, parts: &Parts, head: &Head<'_>, endpoint: Endpoint, body: Incoming) -> Answered {
        let label = route::label(head.route);
        let Ok(_slot) = self.slots.try_acquire() else {
            return simple(answer::crowded(), label, Some(body));
        };
        let mut unread = Some(body);
        let form = if parts.method == Method::POST {
            match self.form(parts, &mut unread).await {
                Ok(form) => form,
                Err(answer) => return simple(answer, label, unread),
            }
        } else {
            Form::empty()
        };
        match shim::parse(parts, head, endpoint, form.bytes.clone(), &self.rules, &*self.outside) {
            Ok(Parsed::Call(call)) => {
                let label = route::label(Route::Peer(call.endpoint));
                let forum = call.call.forum;
                Answered { answer: self.call(*call).await, label, forum, unread }
            }
            Ok(Parsed::Nothing(call)) => {
                simple(answer::nothing_removed(&call, self.outside.unix_seconds()), label, unread)
            }
            Ok(Parsed::Running) => {
                simple(pages::running(&head.base_url, self.outside.unix_seconds()), "running", unread)
            }
            Err(refusal) => simple(answer::refused(refusal), label, unread),
        }
    }

    /// A forum that somebody watches.
    async fn watch(&self, parts: &Parts, head: &Head<'_>) -> Answer {
        if parts.method != Method::GET {
            return answer::refused(Refusal::Method);
        }
        let Some(place) = self.watching.enter() else { return answer::crowded() };
        let none = Bytes::new();
        let call = match shim::parse(parts, head, Endpoint::SearchChat, none, &self.rules, &*self.outside) {
            Ok(Parsed::Call(call)) if call.call.forum.is_some() => call,
            Ok(_) => return answer::refused(Refusal::NoForum),
            Err(refusal) => return answer::refused(refusal),
        };
        let within = self.config.read_within;
        let served = self.gateway.watch(call.call.clone(), watching::through(&parts.headers), within);
        match timeout(within + answer::GRACE, served).await.unwrap_or(Err(CallError::Timeout)) {
            Ok(changes) => {
                answer::watched(&call, watching::events(changes, place), self.outside.unix_seconds())
            }
            Err(error) => answer::unserved(&error),
        }
    }

    async fn form(&self, parts: &Parts, unread: &mut Option<Incoming>) -> Result<Form, Answer> {
        let Some(body) = unread.take_if(|body| !body.is_end_stream()) else { return Ok(Form::empty()) };
        match shim::body_is_form(&parts.headers) {
            Ok(true) => self.bodies.read(body, waits_for_continue(parts)).await.map_err(answer::body_refused),
            other => {
                *unread = Some(body);
                other.map(|_| Form::empty()).map_err(answer::refused)
            }
        }
    }

    async fn call(&self, call: Call) -> Answer {
        let within = if call.writes { self.config.write_within } else { self.config.read_within };
        let served = if call.writes {
            self.gateway.write(call.call.clone(), within)
        } else {
            self.gateway.read(call.call.clone(), within)
        };
        let late = if call.writes { CallError::Indeterminate } else { CallError::Timeout };
        let result = timeout(within + answer::GRACE, served).await.unwrap_or(Err(late));
        let now = self.outside.unix_seconds();
        match result {
            Ok(made) => answer::of_call(&call, made, now),
            Err(error) => {
                let mut answer = answer::unserved(&error);
                if matches!(error, CallError::Pending | CallError::Indeterminate) {
                    answer::keep_session(&mut answer, &call, now);
                }
                answer
            }
        }
    }

    fn init_sessions(&self, parts: &Parts) -> Answer {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let params = match Params::parse(query, b"", self.rules.params) {
            Ok(params) => params,
            Err(too_much) => return answer::refused(Refusal::TooMuch(too_much)),
        };
        let cookies =
            Cookies::parse(parts.headers.get_all(http::header::COOKIE).iter().map(|v| v.as_bytes()));
        let robot =
            parts.headers.get(http::header::USER_AGENT).is_some_and(|agent| is_robot(agent.as_bytes()));
        let session = if robot {
            Session::none()
        } else {
            Session::choose(Endpoint::Unspecified, &params, &cookies, &*self.outside)
        };
        pages::init_sessions(&session, self.outside.unix_seconds())
    }
}

fn simple(answer: Answer, label: &'static str, unread: Option<Incoming>) -> Answered {
    Answered { answer, label, forum: None, unread }
}

fn waits_for_continue(parts: &Parts) -> bool {
    parts.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
