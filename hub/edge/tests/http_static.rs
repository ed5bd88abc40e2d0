//! Files: the hub's own, the operator's, those of peers.

mod http_support;

use std::fs;

use http_support::{Told, file, start, start_usual, usual};
use loop_hub_edge::{HttpConfig, gateway::CallError};
use loop_proto::v1::{self, Endpoint};

#[tokio::test]
async fn the_hubs_own_files_are_served_with_validators() {
    let server = start_usual().await;
    let script = server.get("/front/chat.js").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let etag = script.header("etag").unwrap();
    let known = server.request("GET", "/api/front/chat.js", &[("If-None-Match", etag)], b"").await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(etag)));
    let other = server.request("GET", "/front/chat.js", &[("If-None-Match", "\"other\"")], b"").await;
    assert_eq!(other.body, script.body);
    assert_eq!(server.request("POST", "/front/chat.js", &[], b"").await.status, 405);
    assert!(server.asked().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_peers_file_is_fetched_once_and_remembered_with_its_query() {
    let server = start_usual().await;
    let picture =
        server.request("GET", "/api/art/face1.png?ver=1", &[("Cookie", "PHPSESSID=abc; ses=abc")], b"").await;
    assert_eq!((picture.status, picture.text()), (200, "PNG"));
    assert_eq!(picture.header("content-type"), Some("image/png"), "by its name, not by what the peer says");
    assert!(picture.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!(picture.header("set-cookie"), None);
    let asked = server.last_asked();
    assert_eq!(asked.endpoint(), Endpoint::Static);
    assert!(asked.request.headers.is_empty() && asked.request.session_id.is_empty());

    let etag = picture.header("etag").unwrap();
    let known = server.request("GET", "/art/face1.png?ver=1", &[("If-None-Match", etag)], b"").await;
    assert_eq!(known.status, 304);
    assert_eq!(server.asked().len(), 1);
    server.get("/art/face1.png?ver=2").await;
    assert_eq!(server.asked().len(), 2, "another query is another file");

    for _ in 0..3 {
        assert_eq!(server.get("/art/none.png").await.status, 404);
    }
    assert_eq!(server.asked().len(), 3, "that nobody has it is remembered too");
    server.stop().await;
}

#[tokio::test]
async fn what_a_peer_says_is_private_or_too_big_is_not_remembered() {
    let config = HttpConfig { static_file_bytes_max: 10, ..HttpConfig::default() };
    let server = start(config, |asked| {
        let private = asked.request.path.ends_with(b"private.txt");
        let value = if private { "private" } else { "max-age=60" };
        file("", &[("cache-control", value)], if private { "x" } else { "much too long" })
    })
    .await;
    for path in ["/private.txt", "/private.txt", "/big.txt", "/big.txt"] {
        assert_eq!(server.get(path).await.status, 200);
    }
    assert_eq!(server.asked().len(), 4);
    server.stop().await;
}

#[tokio::test]
async fn a_hostile_peers_file_cannot_break_the_protocol() {
    const EVIL: &str = "x\r\nX-Evil: 1";
    let server = start(HttpConfig::default(), |asked| match &asked.request.path[..] {
        b"/status" => Ok(Told::File(v1::File { status: 7, ..Default::default() })),
        b"/away" => {
            let location = v1::Header { name: "location".into(), value: "http://evil/".into() };
            Ok(Told::File(v1::File { status: 302, headers: vec![location], ..Default::default() }))
        }
        b"/type" => file("a/b\r\nX-Evil: 1", &[], "body"),
        b"/run.svg" => file("text/html", &[], "<script>"),
        _ => {
            let headers = [("cache-control", EVIL), ("etag", EVIL), ("last-modified", EVIL)];
            let others =
                [("location", "/"), ("set-cookie", "PHPSESSID=evil"), ("content-security-policy", "")];
            file("text/plain", &[headers, others].concat(), "body")
        }
    })
    .await;
    for path in ["/status", "/away"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (404, None), "{path}");
    }
    let of_no_type = server.get("/type").await;
    assert_eq!(of_no_type.header("content-type"), Some("application/octet-stream"));
    let picture = server.get("/run.svg").await;
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    let answer = server.get("/headers").await;
    assert_eq!((answer.status, answer.text()), (200, "body"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert!(answer.header("etag").unwrap().starts_with('"'));
    for name in ["location", "set-cookie", "last-modified"] {
        assert_eq!(answer.header(name), None);
    }
    for answer in [of_no_type, picture, answer] {
        assert_eq!(answer.header("x-evil"), None);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("content-security-policy").unwrap().contains("sandbox"));
    }
    server.stop().await;
}

#[tokio::test]
async fn without_peers_a_file_is_not_missing_but_unavailable() {
    let server = start(HttpConfig::default(), |_| Err(CallError::NoPeer)).await;
    server.cluster.peers.store(false, std::sync::atomic::Ordering::Relaxed);
    let answer = server.get("/art/face1.png").await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_file_is_missing_where_no_peer_has_files_and_that_is_remembered() {
    let server = start(HttpConfig::default(), |_| Err(CallError::NoPeer)).await;
    for _ in 0..2 {
        assert_eq!(server.get("/art/face1.png").await.status, 404);
    }
    assert_eq!(server.asked().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn the_operators_folder_and_nothing_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("www");
    fs::create_dir_all(root.join("img")).unwrap();
    fs::write(root.join("img/logo.svg"), "<svg/>").unwrap();
    fs::write(root.join(".env"), "hidden").unwrap();
    fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    let server = start(HttpConfig { static_dir: Some(root.clone()), ..HttpConfig::default() }, usual).await;

    let logo = server.get("/img/logo.svg").await;
    assert_eq!(
        (logo.status, logo.text(), logo.header("content-type")),
        (200, "<svg/>", Some("image/svg+xml"))
    );
    let date = logo.header("last-modified").unwrap();
    assert_eq!(server.request("GET", "/img/logo.svg", &[("If-Modified-Since", date)], b"").await.status, 304);
    assert_eq!(server.request("HEAD", "/img/logo.svg", &[], b"").await.header("content-length"), Some("6"));

    fs::write(root.join("img/logo.svg"), "<svg></svg>").unwrap();
    assert_eq!(server.get("/img/logo.svg").await.text(), "<svg></svg>", "a changed file is read again");

    let attempts = [
        "/../secret.txt",
        "/img/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/img/%2e%2e%2f%2e%2e%2fsecret.txt",
        "/.env",
        "/%2eenv",
        "/img/..%5c..%5csecret.txt",
        "//secret.txt",
        "/img/",
        "/api/../secret.txt",
        "/%252e%252e/secret.txt",
    ];
    for path in attempts {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("secret") && !answer.text().contains("hidden"));
    }
    server.stop().await;
}
