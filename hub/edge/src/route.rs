//! Which door a URL leads to. Pure: looks at the path and, for `index.php`, at the parameters.

use loop_proto::{php_params::Params, v1::Endpoint};
use percent_encoding::percent_decode;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// An endpoint of AtomJump that a peer answers.
    Peer(Endpoint),
    /// `index.php` without anything to do: the page that says the server runs.
    Running,
    /// `init-sessions.php`.
    InitSessions,
    /// `check-status.php`.
    CheckStatus,
    /// `watch`: a forum's messages, and their changes as they happen.
    Watch,
    /// `/` outside of `/api`: the page with the demo forum.
    Front,
    /// Whether the process lives.
    Health,
    /// Whether calls can be served.
    Ready,
    /// Prometheus text.
    Metrics,
    /// Socket.IO's, if it is served.
    Realtime,
    /// The page with a client of it.
    RealtimePage,
    /// The page with several.
    MultiPage,
    /// An endpoint of AtomJump that is known, and not built yet.
    NotBuilt,
    /// A script that does not exist, or that no server should have.
    NoSuchScript,
    /// Any other file.
    File,
}

/// A path, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whether it began with `/api`.
    pub api: bool,
    /// Without `/api`, percent-encoding kept, beginning with one `/`.
    pub verbatim: &'a str,
    /// The same, decoded; `None` if that is not clean text.
    pub decoded: Option<String>,
}

impl<'a> Place<'a> {
    /// Takes a request's path apart.
    pub fn of(path: &'a str) -> Self {
        let path = one_leading_slash(path);
        let rest = path.strip_prefix("/api").filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let verbatim = rest.map_or(path, |rest| if rest.is_empty() { "/" } else { one_leading_slash(rest) });
        let decoded = percent_decode(verbatim.as_bytes()).decode_utf8().ok();
        let clean = decoded.filter(|text| !text.chars().any(char::is_control));
        Self { api: rest.is_some(), verbatim, decoded: clean.map(|text| text.into_owned()) }
    }

    /// The route, as far as the path tells: `index.php` is [`Endpoint::Index`] until [`of_index`] looked closer.
    pub fn route(&self, fast_host: bool) -> Route {
        let Some(path) = self.decoded.as_deref() else { return Route::File };
        match path {
            "/" if self.api => Route::Peer(Endpoint::Index),
            "/" => Route::Front,
            "/healthz" if !self.api => Route::Health,
            "/readyz" if !self.api => Route::Ready,
            "/metrics" if !self.api => Route::Metrics,
            "/watch" => Route::Watch,
            "/download" => Route::NotBuilt,
            "/realtime.html" if !self.api => Route::RealtimePage,
            "/multi.html" if !self.api => Route::MultiPage,
            _ if is_realtime(path) && !self.api => Route::Realtime,
            _ => script_of(path).map_or(Route::File, |name| self.script(name, fast_host)),
        }
    }

    fn script(&self, name: &str, fast_host: bool) -> Route {
        match name {
            "search-chat.php" if fast_host && !self.api => Route::Peer(Endpoint::FastSearchChat),
            "search-chat.php" => Route::Peer(Endpoint::SearchChat),
            "search-secure.php" => Route::Peer(Endpoint::ChatPage),
            "index.php" => Route::Peer(Endpoint::Index),
            "de.php" => Route::Peer(Endpoint::HideMessage),
            "logged-status.php" => Route::Peer(Endpoint::LoggedStatus),
            "single-msg-buttons.php" => Route::Peer(Endpoint::MessageButtons),
            "init-sessions.php" => Route::InitSessions,
            "check-status.php" => Route::CheckStatus,
            "confirm.php"
            | "logout.php"
            | "link.php"
            | "clear-pass.php"
            | "clear-pass-phone.php"
            | "upload-photo.php"
            | "download.php"
            | "image-exists.php"
            | "missing-image.php"
            | "p2p-payment.php"
            | "feedback.php"
            | "typing-cron.php" => Route::NotBuilt,
            // copy-image.php writes any file and bck.php hands out the whole database: never.
            _ => Route::NoSuchScript,
        }
    }
}

/// Whether a path is Socket.IO's.
pub fn is_realtime(path: &str) -> bool {
    path.strip_prefix("/socket.io").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What `index.php` is asked to do.
pub fn of_index(params: &Params) -> Route {
    if params.get("action") == Some(b"ssshout") {
        Route::Peer(Endpoint::Shout)
    } else if params.get("remoteapp") == Some(b"true") {
        Route::Peer(Endpoint::Index)
    } else {
        Route::Running
    }
}

/// The script a decoded path names: one in the root by its name, one elsewhere by its whole path. Anything after
/// `.php/` would be its PATH_INFO.
fn script_of(path: &str) -> Option<&str> {
    let is_script = path
        .split('/')
        .any(|part| part.len() >= 4 && part.as_bytes()[part.len() - 4..].eq_ignore_ascii_case(b".php"));
    is_script.then(|| path.trim_start_matches('/'))
}

fn one_leading_slash(path: &str) -> &str {
    let slashes = path.bytes().take_while(|b| *b == b'/').count();
    if slashes > 1 { &path[slashes - 1..] } else { path }
}

/// What a route is called in logs and metrics.
pub fn label(route: Route) -> &'static str {
    match route {
        Route::Peer(endpoint) => match endpoint {
            Endpoint::Unspecified => "unspecified",
            Endpoint::Shout => "shout",
            Endpoint::SearchChat => "search_chat",
            Endpoint::ChatPage => "chat_page",
            Endpoint::LoggedStatus => "logged_status",
            Endpoint::HideMessage => "hide_message",
            Endpoint::Index => "index",
            Endpoint::FastSearchChat => "fast_search_chat",
            Endpoint::MessageButtons => "message_buttons",
        },
        Route::Running => "running",
        Route::InitSessions => "init_sessions",
        Route::CheckStatus => "check_status",
        Route::Watch => "watch",
        Route::Front => "front",
        Route::Health => "healthz",
        Route::Ready => "readyz",
        Route::Metrics => "metrics",
        Route::Realtime => "realtime",
        Route::RealtimePage | Route::MultiPage => "realtime_page",
        Route::NotBuilt => "not_built",
        Route::NoSuchScript => "no_such_script",
        Route::File => "static",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Route {
        Place::of(path).route(false)
    }

    #[test]
    fn the_prefix_makes_no_difference_to_scripts() {
        for path in
            ["/search-chat.php", "/api/search-chat.php", "//search-chat.php", "/api//search%2Dchat.php"]
        {
            assert_eq!(route(path), Route::Peer(Endpoint::SearchChat), "{path}");
        }
        assert_eq!(Place::of("/api/a%20b.png").verbatim, "/a%20b.png");
        assert_eq!(Place::of("/apis/x").verbatim, "/apis/x");
        assert_eq!(Place::of("/api").verbatim, "/");
    }

    #[test]
    fn the_root_is_the_front_page_and_the_api_root_is_index() {
        assert_eq!(route("/"), Route::Front);
        assert_eq!(route("/api/"), Route::Peer(Endpoint::Index));
        assert_eq!(route("/metrics"), Route::Metrics);
        assert_eq!(route("/api/metrics"), Route::File);
        assert_eq!((route("/api/watch"), route("/watch")), (Route::Watch, Route::Watch));
    }

    #[test]
    fn the_fast_host_speaks_its_dialect_without_the_prefix_only() {
        let fast = |path| Place::of(path).route(true);
        assert_eq!(fast("/search-chat.php"), Route::Peer(Endpoint::FastSearchChat));
        assert_eq!(fast("/api/search-chat.php"), Route::Peer(Endpoint::SearchChat));
    }

    #[test]
    fn unknown_and_dangerous_scripts_do_not_exist() {
        for path in ["/bck.php", "/copy-image.php", "/x.PHP", "/plugins/a/index.php", "/index.php/x.png"] {
            assert_eq!(route(path), Route::NoSuchScript, "{path}");
        }
        assert_eq!(route("/confirm.php"), Route::NotBuilt);
        assert_eq!(route("/images/x.png"), Route::File);
        assert_eq!(Place::of("/%ff").decoded, None);
        assert_eq!(Place::of("/a%00b").decoded, None);
    }

    proptest::proptest! {
        #[test]
        fn any_path_has_a_route(path: String) {
            let place = Place::of(&path);
            let _ = place.route(true);
            proptest::prop_assert!(!place.verbatim.starts_with("//"));
        }
    }
}
