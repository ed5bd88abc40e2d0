//! Files: the hub's own, those of the operator's folder, published ones; and the policies pages are sent with.

mod http_support;

use std::fs;

use http_support::{start, start_usual, usual};
use loop_hub_edge::{HttpConfig, gateway::CallError};

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
async fn a_published_file_is_fetched_once_and_known_by_its_hash() {
    let server = start_usual().await;
    server.publish("/art/face1.png", Ok("PNG"));
    let picture =
        server.request("GET", "/api/art/face1.png?ver=1", &[("Cookie", "PHPSESSID=abc; ses=abc")], b"").await;
    assert_eq!((picture.status, picture.text()), (200, "PNG"));
    assert_eq!(picture.header("content-type"), Some("image/png"));
    assert_eq!(picture.header("x-content-type-options"), Some("nosniff"));
    assert!(picture.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!((picture.header("set-cookie"), picture.header("location")), (None, None));
    let etag = picture.header("etag").unwrap();
    assert_eq!(etag.len(), 66, "the whole hash");
    for path in ["/art/face1.png", "/art/face1.png?ver=2", "/art/face1%2Epng"] {
        assert_eq!(server.get(path).await.text(), "PNG", "{path}");
    }
    let known = server.request("GET", "/art/face1.png", &[("If-None-Match", etag)], b"").await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(server.fetched(), ["/art/face1.png"], "peers were asked once");

    server.publish("/art/face1.txt", Ok("PNG"));
    let text = server.get("/art/face1.txt").await;
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8"),
        "the same bytes, another type"
    );
    server.publish("/art/face1.png", Ok("other"));
    assert_eq!(server.get("/art/face1.png").await.text(), "other", "what is published there now");
    assert_eq!(server.fetched().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn who_has_it_already_costs_no_peer_anything() {
    let server = start_usual().await;
    let etag = server.publish("/big.js", Err(CallError::NoPeer));
    let known = server.request("GET", "/big.js", &[("If-None-Match", &format!("\"{etag}\""))], b"").await;
    assert_eq!(known.status, 304);
    assert!(server.fetched().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_published_is_not_there_and_nobody_is_asked() {
    let server = start_usual().await;
    server.publish("/art/face1.png", Ok("PNG"));
    for number in 0..50 {
        let answer = server.get(&format!("/art/{number}.png?x={number}")).await;
        assert_eq!(answer.status, 404);
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
    for path in ["/art/", "/art/../art/face1.png", "//art/none", "/art/face1.png/x"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    assert!(server.fetched().is_empty() && server.asked().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_published_file_that_no_peer_gives_is_not_missing_but_unavailable() {
    let server = start_usual().await;
    server.publish("/art/face1.png", Err(CallError::NoPeer));
    let answer = server.get("/art/face1.png").await;
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    assert!(answer.header("retry-after").is_some());
    server.publish("/art/face1.png", Ok("PNG"));
    assert_eq!(server.get("/art/face1.png").await.text(), "PNG", "that it failed is not remembered");
    server.stop().await;
}

#[tokio::test]
async fn a_published_page_can_do_nothing() {
    let server = start_usual().await;
    for path in ["/page.html", "/picture.svg", "/data.xml"] {
        server.publish(path, Ok("<script>alert(1)</script>"));
        let page = server.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("allow-scripts"));
    }
    server.stop().await;
}

#[tokio::test]
async fn every_page_of_a_hub_has_a_strict_policy() {
    let server = start_usual().await;
    for path in
        ["/", "/index.php", "/init-sessions.php", "/search-secure.php?uniqueFeedbackId=x", "/none.html"]
    {
        let page = server.get(path).await;
        let policy = page.header("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy"));
        assert!(!policy.contains("unsafe") && policy.contains("default-src '"), "{path}: {policy}");
        assert!(policy.contains("base-uri 'none'"), "{path}: {policy}");
        let embeds = path.starts_with("/search-secure");
        assert_eq!(
            policy.contains("frame-ancestors 'none'"),
            !embeds,
            "{path}: other sites show the pop-up only"
        );
        let mut rest = page.text();
        while let Some(at) = rest.find("<script") {
            rest = &rest[at + 7..];
            let tag = &rest[..rest.find('>').unwrap()];
            assert!(tag.contains("src=") || tag.contains("application/json"), "{path} runs <script{tag}>");
        }
    }
    assert_eq!(server.get("/api/front/close.js").await.status, 200);
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
