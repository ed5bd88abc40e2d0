//! Published files on a hub as it ships, with peers that keep their word and peers that do not.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use clap::Parser;
use futures::future::join_all;
use loop_hubctl::{Args, Outside};
use loop_proto::{
    content::{FILE_BYTES_MAX, PIECE_BYTES_MAX},
    v1::{self, rows_request::Kind},
};
use parking_lot::Mutex;

use crate::lone_hub::{Answers, LoneHub, Volunteer, eventually};

/// Exit code, what is printed, and what is said when it fails.
async fn ctl(hub: &LoneHub, line: &str) -> (u8, String) {
    let grpc = hub.grpc.to_string();
    let args = Args::parse_from(["hubctl", "--hub", &grpc].into_iter().chain(line.split(' ')));
    let mut out = Vec::new();
    let (input, err) = (std::io::empty(), std::io::sink());
    let outside = Outside { now_ms: 0, input, asks: false, out: &mut out, err, terminal: None };
    let failed = loop_hubctl::run(&args, outside).await.err();
    let code = failed.as_ref().map_or(0, |error| error.exit_code());
    let said = failed.map(|error| error.to_string()).unwrap_or_default();
    (code, String::from_utf8(out).unwrap() + &said)
}

/// Keeps what it is given, in memory, and gives `changed` of it.
#[derive(Default)]
struct Keeper {
    files: Mutex<BTreeMap<Bytes, Vec<u8>>>,
    asked: AtomicUsize,
}

impl Keeper {
    fn answers(self: &Arc<Self>, changed: fn(Vec<u8>) -> Vec<u8>) -> Answers {
        let keeper = self.clone();
        Arc::new(move |kind| Some(keeper.answer(kind, changed)))
    }

    fn answer(&self, kind: Kind, changed: fn(Vec<u8>) -> Vec<u8>) -> v1::RowsReply {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut files = self.files.lock();
        match kind {
            Kind::Keep(piece) => {
                let file = files.entry(piece.sha256).or_default();
                if piece.offset == 0 {
                    file.clear();
                }
                file.extend_from_slice(&piece.data);
                let kept = file.len() as u64 == piece.size;
                v1::RowsReply { kept, ..Default::default() }
            }
            Kind::Content(part) => {
                let file = files.get(&part.sha256).cloned().map(changed).unwrap_or_default();
                let offset = (part.offset as usize).min(file.len());
                let content = file[offset..(offset + PIECE_BYTES_MAX).min(file.len())].to_vec().into();
                v1::RowsReply { content, ..Default::default() }
            }
            _ => v1::RowsReply { refused: true, ..Default::default() },
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn honest(file: Vec<u8>) -> Vec<u8> {
    file
}

fn flipped(mut file: Vec<u8>) -> Vec<u8> {
    file[0] ^= 1;
    file
}

fn cut(mut file: Vec<u8>) -> Vec<u8> {
    file.pop();
    file
}

fn longer(mut file: Vec<u8>) -> Vec<u8> {
    file.push(b'!');
    file
}

fn site(dir: &Path, files: &[(&str, &str)]) -> String {
    let site = dir.join("site");
    for (name, text) in files {
        let file = site.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    site.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_published_changed_listed_pruned_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(&dir.path().join("hub")).await;
    let keeper = Arc::new(Keeper::default());
    let _ann = Volunteer::join_with(&hub, "ann", keeper.answers(honest)).await;
    let site = site(dir.path(), &[("a.js", "let a;"), ("img/b.png", "PNG"), ("same.js", "let a;")]);
    eventually(|| async {
        if ctl(&hub, "peers --json").await.1.contains("\"connected_to_hub\": 1") {
            Ok(())
        } else {
            Err("away".to_owned())
        }
    })
    .await;

    let (code, text) = ctl(&hub, &format!("static publish {site} --prefix /x --dry-run")).await;
    assert!(
        code == 0 && text.contains("+ /x/img/b.png (3 B)\n") && text.contains("3 would be published"),
        "{text}"
    );
    assert_eq!((hub.get("/x/a.js").await.0, keeper.asked()), (404, 0));

    let publish = format!("static publish {site} --prefix /x");
    let (code, text) = ctl(&hub, &publish).await;
    assert!(code == 0 && text.ends_with("3 published, 0 removed, 0 unchanged\n"), "{text}");
    assert_eq!(keeper.files.lock().len(), 2, "the same bytes are sent once");
    assert_eq!(hub.get("/x/a.js").await, (200, "let a;".to_owned()));
    assert_eq!(hub.get("/x/img/b.png").await, (200, "PNG".to_owned()));
    let (_, list) = ctl(&hub, "static list --json").await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list["files"][1]["path"], &list["files"][1]["content_type"]),
        (&"/x/img/b.png".into(), &"image/png".into())
    );

    let sent = keeper.asked();
    let (_, text) = ctl(&hub, &publish).await;
    assert!(text.ends_with("0 published, 0 removed, 3 unchanged\n"), "{text}");
    assert_eq!(keeper.asked(), sent, "what has not changed is not sent");

    fs::write(Path::new(&site).join("a.js"), "let b;").unwrap();
    fs::remove_file(Path::new(&site).join("same.js")).unwrap();
    let (_, text) = ctl(&hub, &format!("{publish} --prune --json")).await;
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["changed"][0]["path"], &told["changed"][0]["new"]), (&"/x/a.js".into(), &false.into()));
    assert_eq!(told["removed"], serde_json::json!(["/x/same.js"]));
    assert_eq!(hub.get("/x/a.js").await.1, "let b;");
    assert_eq!(hub.get("/x/same.js").await.0, 404);

    let (code, text) = ctl(&hub, "static remove /x/a.js /x/none.js").await;
    assert!(code == 4 && text.contains("/x/none.js, so nothing was removed"), "{text}");
    assert_eq!(ctl(&hub, "static remove /x/a.js").await, (0, "1 removed\n".to_owned()));
    assert_eq!(hub.get("/x/a.js").await.0, 404);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_peer_that_takes_it_nothing_is_published_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(&dir.path().join("hub")).await;
    let site = site(dir.path(), &[("a.js", "let a;")]);
    let publish = format!("static publish {site}");
    let refused = |(code, text): (u8, String)| {
        assert!(
            code == 1 && text.contains("no peer has taken /a.js") && text.contains("--content-mib"),
            "{code} {text}"
        );
    };
    refused(ctl(&hub, &publish).await);
    let full = |_| Some(v1::RowsReply { refused: true, ..Default::default() });
    let _full = Volunteer::join_with(&hub, "full", Arc::new(full)).await;
    refused(ctl(&hub, &publish).await);
    assert!(ctl(&hub, "static list").await.1.starts_with("nothing is published"));
    let script = dir.path().join("script");
    fs::create_dir(&script).unwrap();
    fs::write(script.join("index.php"), "<?php").unwrap();
    let (code, text) = ctl(&hub, &format!("static publish {}", script.display())).await;
    assert!(code == 1 && text.contains("/index.php is answered by the hubs themselves"), "{text}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_other_bytes_than_were_published_is_suspended_and_browsers_get_the_right_ones() {
    let dir = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(&dir.path().join("hub")).await;
    let keeper = Arc::new(Keeper::default());
    let _ann = Volunteer::join_with(&hub, "ann", keeper.answers(honest)).await;
    let _eve = Volunteer::join_with(&hub, "evil", keeper.answers(flipped)).await;
    let files: Vec<(String, String)> = (0..24).map(|n| (format!("{n}.js"), format!("let a{n};"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let site = site(dir.path(), &files);
    let publish = format!("static publish {site}");
    eventually(|| async {
        let (code, text) = ctl(&hub, &publish).await;
        let (_, list) = ctl(&hub, "static list").await;
        if code == 0 && list.contains("p1") && list.contains("p2") { Ok(()) } else { Err(text + &list) }
    })
    .await;
    for (name, text) in files {
        assert_eq!(hub.get(&format!("/{name}")).await, (200, text.to_owned()));
    }
    let told = eventually(|| async {
        let (_, peers) = ctl(&hub, "peers --wide").await;
        if peers.contains("was suspended") { Ok(peers) } else { Err(peers) }
    })
    .await;
    assert!(told.contains("evil was suspended once, last for an answer with bytes that are not"), "{told}");
    assert!(!told.contains("ann was suspended"), "{told}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_liar_alone_browsers_get_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lies: [fn(Vec<u8>) -> Vec<u8>; 4] = [flipped, cut, longer, |_| Vec::new()];
    for (number, lie) in lies.into_iter().enumerate() {
        let hub = LoneHub::start(&dir.path().join(format!("hub{number}"))).await;
        let keeper = Arc::new(Keeper::default());
        let _eve = Volunteer::join_with(&hub, "evil", keeper.answers(lie)).await;
        let site = site(dir.path(), &[("a.js", "let a;")]);
        eventually(|| async {
            let (code, text) = ctl(&hub, &format!("static publish {site}")).await;
            if code == 0 { Ok(()) } else { Err(text) }
        })
        .await;
        assert_eq!(hub.get("/a.js").await, (503, String::new()), "lie {number}");
        eventually(|| async {
            let (_, peers) = ctl(&hub, "peers --wide").await;
            if peers.contains("evil was suspended") { Ok(()) } else { Err(peers) }
        })
        .await;
        assert_eq!(hub.get("/a.js").await.0, 503, "it is not asked again");
        hub.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_browsers_wait_for_one_fetch_and_random_paths_cost_peers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(&dir.path().join("hub")).await;
    let keeper = Arc::new(Keeper::default());
    let _ann = Volunteer::join_with(&hub, "ann", keeper.answers(honest)).await;
    let site = site(dir.path(), &[]);
    fs::create_dir_all(&site).unwrap();
    let large: String = "0123456789abcdef".repeat(FILE_BYTES_MAX as usize / 16);
    fs::write(Path::new(&site).join("large.txt"), &large).unwrap();
    eventually(|| async {
        let (code, text) = ctl(&hub, &format!("static publish {site}")).await;
        if code == 0 { Ok(()) } else { Err(text) }
    })
    .await;
    let before = keeper.asked();
    for number in 0..100 {
        assert_eq!(hub.get(&format!("/none/{number}.png")).await.0, 404);
    }
    assert_eq!(keeper.asked(), before, "no message for what is not published");
    let all = join_all((0..20).map(|_| hub.get("/large.txt"))).await;
    assert!(all.iter().all(|(status, body)| *status == 200 && *body == large));
    assert_eq!(keeper.asked() - before, FILE_BYTES_MAX as usize / PIECE_BYTES_MAX, "each piece once");
    hub.stop().await;
}
