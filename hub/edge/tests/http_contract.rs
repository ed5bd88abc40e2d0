//! What AtomJump's browsers rely on: headers, cookies, JSONP, methods, statuses.

mod http_support;

use std::time::Duration;

use http_support::{Asked, Client, Response, json, start, start_usual, usual};
use loop_atomjump::Answer;
use loop_hub_edge::{
    HttpConfig,
    gateway::{CallError, Opening},
};
use loop_proto::{
    ids::{ForumKey, MessageId},
    v1::Endpoint,
};

const SESSION: &str = "e9kk7qp45o5r85vr5bkrfr6ran";
const COOKIE: (&str, &str) = ("Cookie", "PHPSESSID=e9kk7qp45o5r85vr5bkrfr6ran");
const SET_COOKIE: &str =
    "PHPSESSID=e9kk7qp45o5r85vr5bkrfr6ran; expires=Tue, 20 Nov 2029 03:49:23 GMT; Max-Age=94608000; path=/";
const COMMIT: &str = "/index.php?callback=jQuery1_2&action=ssshout&passcode=ajps_test&remoteapp=true\
&ses=e9kk7qp45o5r85vr5bkrfr6ran&cs=21633478&typing=off&shout_id=&msg_id=1&message=Hello%0D%0A";

/// The headers of the captured PHP answer that must be there, and no other of these names.
fn has_exactly(answer: &Response, wanted: &[(&str, &str)]) {
    for name in ["Content-Type", "Cache-Control", "Expires", "Pragma", "Last-Modified", "Set-Cookie"] {
        let wanted: Vec<&str> = wanted.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v).collect();
        assert_eq!(answer.all(name), wanted, "{name}");
    }
    assert_eq!(answer.header("date"), Some("Sat, 21 Nov 2026 03:49:23 GMT"));
    assert_eq!(answer.header("content-length").unwrap(), answer.body.len().to_string());
}

const HTML: (&str, &str) = ("Content-Type", "text/html; charset=UTF-8");
const EXPIRES: (&str, &str) = ("Expires", "Thu, 19 Nov 1981 08:52:00 GMT");
const NO_STORE: (&str, &str) = ("Cache-Control", "no-store, no-cache, must-revalidate");
const PRAGMA: (&str, &str) = ("Pragma", "no-cache");

#[tokio::test]
async fn each_endpoint_has_the_headers_php_sends() {
    let server = start_usual().await;
    let get = async |path: &str, cookie: bool| {
        let headers = if cookie { &[COOKIE][..] } else { &[] };
        server.request("GET", path, headers, b"").await
    };

    let read = get("/search-chat.php?callback=jQuery1_2&passcode=ajps_test", true).await;
    has_exactly(&read, &[HTML, EXPIRES, ("Cache-Control", "private, no-transform"), PRAGMA]);
    assert_eq!(read.text(), r#"jQuery1_2({"res":[],"ses":"x"})"#);

    let page = get("/search-secure.php?uniqueFeedbackId=ajps_test", true).await;
    let page_headers = [
        HTML,
        ("Cache-Control", "no-store, no-cache, must-revalidate, private, no-transform"),
        ("Cache-Control", "post-check=0, pre-check=0"),
        ("Expires", "Sat, 26 Jul 1997 05:00:00 GMT"),
        PRAGMA,
        ("Last-Modified", "Sat, 21 Nov 2026 03:49:23 GMT"),
    ];
    has_exactly(&page, &page_headers);

    let shout = get(COMMIT, true).await;
    let json = ("Content-Type", "application/json");
    has_exactly(&shout, &[json, EXPIRES, NO_STORE, PRAGMA, ("Set-Cookie", SET_COOKIE)]);
    let silent = get(&COMMIT.replace("&remoteapp=true", ""), true).await;
    has_exactly(&silent, &[HTML, EXPIRES, NO_STORE, PRAGMA, ("Set-Cookie", SET_COOKIE)]);

    for path in [
        "/logged-status.php?callback=cb&passcode=ajps_test",
        "/de.php?callback=cb&passcode=ajps_test&mid=2867&just_typing=on",
        "/single-msg-buttons.php?callback=cb&passcode=ajps_test&mid=2867",
        "/init-sessions.php",
    ] {
        has_exactly(&get(path, true).await, &[HTML, EXPIRES, NO_STORE, PRAGMA]);
    }

    let plain = get("/index.php", true).await;
    let mut plain_headers = page_headers.to_vec();
    plain_headers[1] = NO_STORE;
    has_exactly(&plain, &plain_headers);
    assert!(plain.text().contains(&format!("http://{}", server.addr)));
    assert_eq!(get("/api/", true).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn the_fast_host_speaks_its_own_dialect() {
    let server = start_usual().await;
    let host = ("Host", "fast.atomjump.com");
    let read = server.request("GET", "/search-chat.php?passcode=f&sessionId=abc", &[host], b"").await;
    has_exactly(&read, &[("Content-Type", "text/html")]);
    assert_eq!(read.text(), r#"undefined({"res":[],"ses":"x"})"#);
    let asked = server.last_asked();
    assert_eq!((asked.endpoint(), asked.request.session_id.as_str()), (Endpoint::FastSearchChat, "abc"));

    let nobody = server.request("GET", "/search-chat.php?passcode=f", &[host], b"").await;
    assert_eq!((nobody.status, nobody.text()), (400, ""));
    let prefixed = server.request("GET", "/api/search-chat.php?passcode=f", &[host], b"").await;
    assert_eq!(prefixed.status, 200);
    assert_eq!(server.last_asked().endpoint(), Endpoint::SearchChat);
    server.stop().await;
}

#[tokio::test]
async fn a_browser_without_a_session_gets_one_and_a_robot_does_not() {
    let server = start_usual().await;
    let read = server.get("/search-chat.php?passcode=f").await;
    let cookie = read.header("set-cookie").unwrap().to_owned();
    let id = server.last_asked().request.session_id;
    assert_eq!(id.len(), 26);
    assert!(cookie.starts_with(&format!("PHPSESSID={id}; expires=")), "{cookie}");
    assert!(id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b)));

    let again = server.get("/search-chat.php?passcode=f").await;
    assert_ne!(again.header("set-cookie").unwrap(), cookie);

    let by_parameter = server.get("/search-chat.php?passcode=f&sessionId=abc").await;
    assert!(by_parameter.header("set-cookie").unwrap().starts_with("PHPSESSID=abc;"));

    let robot = [("User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1)"), COOKIE];
    let read = server.request("GET", "/search-chat.php?passcode=f", &robot, b"").await;
    assert_eq!(read.header("set-cookie"), None);
    let asked = server.last_asked();
    assert_eq!(asked.request.session_id, "");
    assert!(asked.call().opens.is_none());

    let window = server.get("/init-sessions.php").await;
    assert!(window.header("set-cookie").is_some() && window.text().contains("front/close.js"));
    server.stop().await;
}

#[tokio::test]
async fn a_callback_is_a_name_or_nothing() {
    let server = start_usual().await;
    for bad in [
        "callback[]=x",
        "callback=alert(1)//",
        "callback=%3Cscript%3Ealert(1)%3C/script%3E",
        "callback=a%0Ab",
    ] {
        let answer = server.get(&format!("/search-chat.php?{bad}&passcode=f")).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(!answer.text().contains("script"));
    }
    assert!(server.asked().is_empty());
    for missing in ["", "callback=&"] {
        let answer = server.get(&format!("/search-chat.php?{missing}passcode=f")).await;
        assert_eq!(answer.text(), r#"({"res":[],"ses":"x"})"#);
    }
    let form = b"callback=evil&passcode=f";
    let urlencoded = ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8");
    let post = server.request("POST", "/search-chat.php", &[urlencoded], form).await;
    assert!(post.text().starts_with("({"));
    assert_eq!(server.last_asked().call().forum, Some(ForumKey::of_name(b"f")));
    server.stop().await;
}

#[tokio::test]
async fn writes_go_in_by_the_writing_door_and_only_they() {
    let server = start_usual().await;
    server.get(COMMIT).await;
    let first = server.last_asked();
    assert!(first.writes && first.call().creates_message);
    assert_eq!(first.call().opens, Some(Opening { name: "ajps_test".into(), general: "".into() }));
    assert_eq!(first.within, HttpConfig::default().write_within);
    assert_eq!(first.request.session_id, SESSION);

    server.get(&COMMIT.replace("shout_id=", "shout_id=2867").replace("jQuery1_2", "jQuery1_77")).await;
    let again = server.last_asked();
    assert_eq!(again.call().request_id, first.call().request_id, "a re-send is the same request");
    assert_eq!((again.call().creates_message, again.call().named_message), (false, MessageId::new(2867)));

    let wrong = server.get(&COMMIT.replace("21633478", "1")).await;
    assert_eq!(wrong.status, 200);
    let asked = server.last_asked();
    assert!(!asked.writes && asked.endpoint() == Endpoint::Shout);
    assert_eq!(asked.call().opens, None, "reading opens no forum");
    assert_eq!(asked.within, HttpConfig::default().read_within);

    server.request("HEAD", COMMIT, &[], b"").await;
    assert!(!server.last_asked().writes);

    let before = server.asked().len();
    let nothing = server.get("/de.php?callback=cb&passcode=f&mid=1%20or%201=1").await;
    assert_eq!(nothing.text(), r#"cb("")"#);
    assert_eq!(server.get("/de.php?passcode=f").await.text(), "");
    assert_eq!(server.asked().len(), before, "nobody was bothered");
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_built_or_not_allowed_says_so() {
    let server = start_usual().await;
    for path in ["/bck.php", "/copy-image.php", "/nothere.php", "/api/plugins/x/index.php", "/INDEX.PHP"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.text()), (404, "File not found.\n"), "{path}");
    }
    for path in
        ["/confirm.php", "/api/logout.php", "/upload-photo.php", "/download.php", "/download", "/link.php"]
    {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 501, "{path}");
        assert_eq!(answer.text().lines().count(), 1);
    }
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let answer = server.request(method, "/search-chat.php?passcode=f", &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")), "{method}");
    }
    let multipart = ("Content-Type", "multipart/form-data; boundary=x");
    assert_eq!(server.request("POST", "/search-chat.php", &[multipart], b"--x--").await.status, 415);
    assert!(server.asked().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_head_is_a_get_without_body() {
    let server = start_usual().await;
    for path in [
        "/search-chat.php?callback=cb&passcode=f",
        "/search-secure.php?uniqueFeedbackId=f",
        "/",
        "/front/chat.js",
    ] {
        let get = server.get(path).await;
        let head = server.request("HEAD", path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unserved_call_is_told_in_atomjumps_way() {
    let cases = [
        (CallError::NoLeader, 503, true),
        (CallError::NoPeer, 503, true),
        (CallError::Overloaded, 503, true),
        (CallError::Full("forums"), 503, false),
        (CallError::Timeout, 504, false),
        (CallError::Pending, 504, false),
        (CallError::Indeterminate, 504, false),
    ];
    for (error, status, is_empty) in cases {
        let server = start(HttpConfig::default(), move |_| Err(error.clone())).await;
        let answer = server.get(COMMIT).await;
        assert_eq!((answer.status, answer.body.is_empty()), (status, is_empty));
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        assert!(!answer.text().contains('{') && !answer.text().contains("ajps_test"));
        server.stop().await;
    }
}

#[tokio::test]
async fn a_cluster_that_never_answers_is_not_waited_for() {
    let config = HttpConfig {
        read_within: Duration::from_millis(50),
        write_within: Duration::from_millis(50),
        ..HttpConfig::default()
    };
    let server = start(config, usual).await;
    *server.cluster.delay.lock() = Duration::from_secs(60);
    let (read, write) = tokio::join!(server.get("/search-chat.php?passcode=f"), server.get(COMMIT));
    assert_eq!((read.status, write.status), (504, 504));
    server.stop().await;
}

#[tokio::test]
async fn an_answer_keeps_its_own_status_and_type_and_is_wrapped_only_if_it_is_for_a_callback() {
    let server = start(HttpConfig::default(), |asked| match asked.endpoint() {
        Endpoint::SearchChat => Ok(Answer::refused(400, "The request has too much.")),
        Endpoint::Shout => Ok(Answer::jsonp("application/json", b"{}".to_vec())),
        Endpoint::LoggedStatus => Ok(Answer { status: 7, ..Answer::default() }),
        _ => json("1"),
    })
    .await;
    let refused = server.get("/search-chat.php?callback=cb&passcode=f").await;
    assert_eq!((refused.status, refused.text()), (400, "The request has too much."));
    assert_eq!(refused.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert!(refused.header("content-security-policy").unwrap().contains("sandbox"), "text only");
    let silent = server.get(&COMMIT.replace("&remoteapp=true", "")).await;
    assert_eq!((silent.text(), silent.header("content-type")), ("jQuery1_2({})", Some("application/json")));
    assert!(silent.header("content-security-policy").unwrap().contains("sandbox"));
    let nonsense = server.get("/logged-status.php?callback=cb&passcode=f").await;
    assert_eq!(nonsense.status, 500, "no status at all is a mistake of the hub's own");
    server.stop().await;
}

#[tokio::test]
async fn health_readiness_and_metrics_tell_no_secrets() {
    let server = start_usual().await;
    assert_eq!(server.get("/healthz").await.status, 200);
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (200, "ready\n"));
    let status = server.get("/check-status.php").await;
    assert_eq!((status.status, status.text()), (200, ""));
    server.cluster.peers.store(false, std::sync::atomic::Ordering::Relaxed);
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (200, "ready, but not all is well:\n- no peer\n"));
    assert_eq!(server.get("/check-status.php").await.status, 503);
    server.cluster.ready.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(server.get("/healthz").await.status, 200);
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (503, "not ready:\n- no majority\n- no peer\n"));
    let ready = server.request("GET", "/readyz", &[("Accept", "application/json")], b"").await;
    assert_eq!((ready.status, ready.header("content-type")), (503, Some("application/json")));
    assert!(ready.text().contains(r#""ready":false,"quorum":false"#), "{}", ready.text());
    assert_eq!(ready.header("cache-control"), Some("no-store"));
    let status = server.get("/api/check-status.php").await;
    assert_eq!((status.status, status.text()), (503, ""));
    assert_eq!(server.get("/metrics").await.status, 200);
    let front = server.get("/").await;
    assert!(front.text().contains("http://127.0.0.1:8081/") && front.text().contains("ajps_test"));
    server.stop().await;
}

#[tokio::test]
async fn a_watched_forum_is_a_stream_of_events_and_what_cannot_be_watched_says_why() {
    let list = |asked: &Asked| {
        assert_eq!(asked.endpoint(), Endpoint::SearchChat);
        json(r#"{"ids":["7"],"res":[]}"#)
    };
    let config = HttpConfig { idle_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let server = start(config, list).await;
    let mut client = Client::connect(server.addr).await;
    client.send(b"GET /api/watch?passcode=ajps_test HTTP/1.0\r\nHost: h\r\nLast-Event-ID: 41\r\n\r\n").await;
    let answer = client.answer(false).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!((answer.header("x-accel-buffering"), answer.header("content-length")), (Some("no"), None));
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.starts_with("PHPSESSID=")));
    let mut events = answer.body;
    let expected = "retry: 1000\n\nid: 42\ndata: {\"ids\":[\"7\"],\"res\":[]}\n\n";
    while events.len() < expected.len() && client.more(&mut events).await > 0 {}
    assert_eq!(String::from_utf8(events).unwrap(), expected);

    let refused = async |method: &str, path: &str| server.request(method, path, &[], b"").await.status;
    assert_eq!(refused("GET", "/api/watch").await, 400);
    assert_eq!(refused("GET", "/api/watch?passcode=").await, 400);
    assert_eq!(refused("POST", "/api/watch?passcode=ajps_test").await, 405);

    // For longer than a connection may be idle nothing has happened, and that is nobody's fault; then the hub stops.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_millis(50), client.more(&mut rest)).await;
    assert!(ended.is_err(), "the stream has ended: {rest:?}");
    server.shutdown.cancel();
    assert_eq!(client.more(&mut rest).await, 0);
    server.served.await.unwrap().unwrap();
}
