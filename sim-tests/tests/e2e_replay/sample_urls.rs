//! The URLs AtomJump's own browsers send, answered through each hub: they reach the forum their top-level
//! parameters name, and never the one that is named inside a nested URL.

use std::net::SocketAddr;

use anyhow::Result;
use loop_sim_tests::{client::sid, hubctl, system::System};
use serde_json::Value;

use crate::http::{Answer, Request};

const URLS: &str = include_str!("../../fixtures/sample_urls.txt");
const SESSION: &str = "1p9nltbl2j449h1tv7a3f4tks3";
const READER: &str = "jQuery111001906744773801886_1583350777476";
const WRITER: &str = "jQuery111007185678883165553_1583350964822";
const TYPIST: &str = "jQuery111007185678883165553_1583350964824";

/// Messages of one answer: those asked for, and one more.
const RECORDS: usize = 26;

/// The sample URL that contains `part`.
fn url(part: &str) -> &'static str {
    let mut found = URLS.lines().filter(|line| line.contains(part));
    let url = found.next().unwrap_or_else(|| panic!("no sample URL has {part}"));
    assert_eq!(found.next(), None, "{part} is in two sample URLs");
    url
}

/// Sends a URL to a hub: its host as `Host`, http instead of https.
async fn ask(hub: SocketAddr, url: &str) -> Answer {
    let (host, target) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    Request::get(host, format!("/{target}")).send(hub).await
}

fn texts(answer: &Value) -> Vec<&str> {
    answer["res"].as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap()).collect()
}

fn ids(answer: &Value) -> Vec<String> {
    answer["res"].as_array().unwrap().iter().map(|row| row["id"].to_string().replace('"', "")).collect()
}

/// With the files published: peers have them, hubs do not.
async fn start(files: &std::path::Path) -> Result<System> {
    let system = System::start().await?;
    hubctl::done(&system, 0, &format!("static publish {}", files.display())).await?;
    Ok(system)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_urls_are_answered_through_each_hub() -> Result<()> {
    let files = tempfile::tempdir()?;
    put_files(files.path())?;
    let mut system = start(files.path()).await?;
    let hubs: Vec<SocketAddr> = (0..3).map(|at| system.cluster.hub_http(at)).collect();
    for (at, hub) in hubs.iter().enumerate() {
        // A visitor of its own for each hub: one visitor saying the same twice is one message.
        let session = format!("{}{}", &SESSION[3 * at..], &SESSION[..3 * at]);
        let url = |part: &str| url(part).replace(SESSION, &session);
        page_and_status(*hub, &url).await;

        let typing = ask(*hub, &url("typing=on")).await;
        let typing = typing.jsonp(TYPIST).expect("JSONP with the typist's callback");
        let id = typing["sid"].as_u64().expect("a number for a message begun").to_string();
        assert_eq!((typing["ses"].as_str(), typing["lid"].as_str()), (Some(session.as_str()), Some("1")));
        assert!(texts(&typing)[0].contains("Typing"), "{typing}");

        let commit = url("typing=off").replace("912394", &id);
        let committed = ask(*hub, &commit).await;
        assert_eq!(committed.header("content-type"), "application/json");
        let committed = committed.jsonp(WRITER).expect("JSONP with the writer's callback");
        assert_eq!(
            (committed["sid"].as_str(), committed["ses"].as_str()),
            (Some(""), Some(session.as_str()))
        );
        assert_eq!(ids(&committed)[0], id);

        // The same through every hub, from both kinds of reader.
        for other in &hubs {
            let read = ask(*other, &url("atomjump.com/api/search-chat.php")).await;
            assert_eq!(read.header("content-type"), "text/html; charset=utf-8");
            let read = read.jsonp(READER).expect("JSONP with the reader's callback");
            assert_eq!(read["ses"], session);
            assert!((1..=RECORDS).contains(&texts(&read).len()), "{read}");
            assert_eq!(ids(&read)[0], id);
            assert!(texts(&read)[0].contains("Starting to type\r\n"), "{read}");
            let fast = ask(*other, &url("fast.atomjump.com")).await;
            assert_eq!((fast.status, fast.header("content-type")), (200, "text/html"));
            let fast = fast.jsonp(READER).expect("JSONP from the fast reader");
            assert!(fast["res"][0]["id"].is_u64() && fast["res"][0].get("lat").is_none(), "{fast}");
            assert_eq!((ids(&fast), texts(&fast)), (ids(&read), texts(&read)));
        }
        // Sent again through the next hub it is the same message.
        let again = ask(hubs[(at + 1) % 3], &commit).await.jsonp(WRITER).unwrap();
        assert_eq!(ids(&again), ids(&committed));
        static_files(*hub).await;
    }
    system.assert_nobody_fell();
    Ok(())
}

async fn page_and_status(hub: SocketAddr, url: &impl Fn(&str) -> String) {
    let page = ask(hub, &url("uniqueFeedbackId=ajps_test&myMachineUser=92.27.10.17:8")).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    for part in ["ajps_test", "92.27.10.17:8", "https://atomjump.com/api", "name=\"message\""] {
        assert!(page.body.contains(part) || page.body.contains(&part.replace('/', "\\/")), "no {part}");
    }
    let status = ask(hub, &url("logged-status.php")).await;
    assert_eq!((status.status, status.header("content-type")), (200, "text/html; charset=utf-8"));
    let status = status.jsonp("jQuery111001906744773801886_1583350777474").expect("JSONP");
    for key in ["subscribe", "loggedIn", "subscribeToggle"] {
        assert!(status[key].as_str().is_some_and(|html| html.starts_with('<')), "{key}: {status}");
    }
}

/// Files, the path each is published at, and the type browsers must be told.
const FILES: [(&str, &str, &str); 5] = [
    ("face1.png", "plugins/emoticons_large/icons/art/face1.png", "image/png"),
    ("piwik.js", "analytics/piwik/piwik.js", "text/javascript; charset=utf-8"),
    ("test_OWN.jpg", "test_OWN.jpg", "image/jpeg"),
    ("upl43696", "upl43696-71103225.jpg", "image/jpeg"),
    ("comments-1.0.4.css?ver=1", "atomjump-frontend/comments-1.0.4.css", "text/css; charset=utf-8"),
];

fn put_files(root: &std::path::Path) -> Result<()> {
    for (_, path, _) in FILES {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap())?;
        std::fs::write(&path, format!("content of {}", path.file_name().unwrap().display()))?;
    }
    Ok(())
}

async fn static_files(hub: SocketAddr) {
    for (part, path, content_type) in FILES {
        let answer = ask(hub, url(part)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, content_type), "{part}");
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(answer.body, format!("content of {name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_missing_and_the_fast_reader_knows_every_session() -> Result<()> {
    // Neither hubs nor peers have a folder of files here.
    let mut system = System::start().await?;
    let session = "nobody0knows0this0session0";
    for at in 0..3 {
        let hub = system.cluster.hub_http(at);
        for path in ["robots.txt", "api/images/none.png", "images/im/upl1-2.jpg", "nothere.php"] {
            let answer = ask(hub, &format!("https://atomjump.com/{path}")).await;
            assert_eq!(answer.status, 404, "{path} through hub {}", at + 1);
        }
        // The PHP must have seen a session before loop-server-fast answers it; here one that has not written is served, too.
        let fast = url("fast.atomjump.com").replace(SESSION, &format!("{session}{at}"));
        let read = ask(hub, &fast).await;
        let answer = read.jsonp(READER).expect("JSONP");
        assert_eq!((read.status, answer["ses"].as_str()), (200, Some(format!("{session}{at}").as_str())));
    }
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forum_named_inside_a_nested_url_is_data() -> Result<()> {
    let mut system = System::start().await?;
    let hubs: Vec<SocketAddr> = (0..3).map(|at| system.cluster.hub_http(at)).collect();
    for (at, hub) in hubs.iter().enumerate() {
        let other = format!("ajps_elsewhere{at}");
        let nested = |url: &str| {
            // Only the copies inside other URLs: the first level says `passcode=` or, on the page, `uniqueFeedbackId=`.
            let url = url.replace("uniqueFeedbackId%253Dajps_test", &format!("uniqueFeedbackId%253D{other}"));
            url.replace(
                "clientremoteurl=https%3A%2F%2Ftest.atomjump.com%2F",
                &format!("clientremoteurl=https%3A%2F%2Ftest.atomjump.com%2F%3Fpasscode%3D{other}%26uniqueFeedbackId%3D{other}"),
            )
        };
        let typing = nested(url("typing=on"));
        assert!(typing.matches(&other).count() == 3, "{typing}");
        let begun = ask(*hub, &typing).await.jsonp(TYPIST).expect("JSONP");
        let id = sid(&begun).expect("an id");
        let text = format!("nested{at}");
        let commit = nested(url("typing=off")).replace("912394", &id.to_string()).replace("Starting", &text);
        let committed = ask(*hub, &commit).await.jsonp(WRITER).expect("JSONP");
        assert_eq!(ids(&committed)[0], id.to_string());
        let page = ask(*hub, &nested(url("uniqueFeedbackId=ajps_test&myMachineUser=92.27.10.17:8"))).await;
        assert!(page.body.contains("ajps_test"));
        for reader in &hubs {
            let read = ask(*reader, url("atomjump.com/api/search-chat.php")).await.jsonp(READER).unwrap();
            assert!(texts(&read)[0].contains(&text), "{read}");
        }
        let here = system.forum("ajps_test").await?;
        assert!(here.assignment.is_some());
        assert!(system.forum(&other).await.is_err(), "nobody opened {other}");
    }
    system.assert_nobody_fell();
    Ok(())
}
