//! What a hub tells operators: whether it serves, what is not well, what its metrics mean, how much forums have to do.

use std::{collections::BTreeSet, time::Duration};

use clap::Parser;
use loop_hubctl::{Args, Outside};
use loop_proto::v1::{self, admin_service_client::AdminServiceClient};
use tokio::time::sleep;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::lone_hub::{LoneHub, Volunteer, eventually};

const PEER_SERVICE: &str = "loop.p2p.v1.PeerService";

async fn grpc_health(hub: &LoneHub, service: &str) -> Result<bool, String> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = HealthClient::new(hub.channel()).check(request).await.map_err(|no| no.to_string())?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}

async fn grpc_says(hub: &LoneHub, service: &str, serving: bool) {
    eventually(|| async {
        let says = grpc_health(hub, service).await?;
        if says == serving { Ok(()) } else { Err(format!("{service:?} says {says}")) }
    })
    .await;
}

/// What `hubctl` prints, and its exit code.
async fn ctl(hub: &LoneHub, line: &str) -> (u8, String) {
    let grpc = hub.grpc.to_string();
    let args = Args::parse_from(["hubctl", "--hub", &grpc].into_iter().chain(line.split(' ')));
    let mut out = Vec::new();
    let outside = Outside {
        now_ms: 0,
        input: std::io::empty(),
        asks: false,
        out: &mut out,
        err: std::io::sink(),
        terminal: None,
    };
    let code = loop_hubctl::run(&args, outside).await.map_or_else(|error| error.exit_code(), |()| 0);
    (code, String::from_utf8(out).unwrap())
}

/// Opens this many forums; their ids.
async fn open(hub: &LoneHub, forums: u32) -> Vec<u32> {
    for number in 0..forums {
        hub.post(&format!("ajps_health_{number}"), 1);
    }
    let admin = hub.admin();
    eventually(|| async {
        let (opened, _) = admin.forums(None, 1000).await.map_err(|no| no.to_string())?;
        let ids: Vec<u32> = opened.iter().map(|forum| forum.forum_id).collect();
        if ids.len() == forums as usize { Ok(ids) } else { Err(format!("{ids:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_ready_while_a_peer_is_connected_and_peers_may_come_before_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(folder.path()).await;
    let told = eventually(|| async {
        let (status, told) = hub.get("/readyz").await;
        if status == 503 && told.contains("no peer has joined yet") { Ok(told) } else { Err(told) }
    })
    .await;
    assert!(told.starts_with("not ready:\n- "), "{told}");
    grpc_says(&hub, PEER_SERVICE, true).await;
    grpc_says(&hub, "", false).await;
    let (code, status) = ctl(&hub, "status").await;
    assert_eq!(code, 5, "{status}");
    assert!(status.contains("NOT SERVING:") && status.contains("h1 leads"), "{status}");

    let volunteer = Volunteer::join(&hub, "attic").await;
    assert_eq!(hub.told(200).await, "ready\n");
    grpc_says(&hub, "", true).await;
    let (code, status) = ctl(&hub, "status").await;
    assert_eq!((code, status.contains("all is well")), (0, true), "{status}");

    drop(volunteer);
    let told = hub.told(503).await;
    assert!(told.contains("the only peer is not connected"), "{told}");
    grpc_says(&hub, "", false).await;
    grpc_says(&hub, PEER_SERVICE, true).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forums_with_too_few_live_copies_are_told_listed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(folder.path()).await;
    let (attic, shed) = (Volunteer::join(&hub, "attic").await, Volunteer::join(&hub, "garden shed").await);
    let opened = open(&hub, 5).await;

    // Two of the three that are wanted.
    let told = eventually(|| async {
        let (status, told) = hub.get("/readyz").await;
        if status == 200 && told.contains("fewer live copies than wanted") { Ok(told) } else { Err(told) }
    })
    .await;
    assert!(told.contains("5 of 5 forums") && told.contains("for more than 1 s"), "{told}");
    let (code, status) = ctl(&hub, "status").await;
    assert_eq!(code, 5, "{status}");

    // A page each.
    let mut listed = Vec::new();
    loop {
        let after = listed.last().copied().unwrap_or(0);
        let request = v1::ListForumsRequest { after, limit: 1, unhealthy: true, ..Default::default() };
        let page = AdminServiceClient::new(hub.channel()).list_forums(request).await.unwrap().into_inner();
        assert_eq!(page.forums.len(), 1);
        let live: BTreeSet<u32> = page.forums[0].live.iter().copied().collect();
        assert_eq!(live, [attic.id, shed.id].into(), "{page:?}");
        assert!(page.forums[0].below_for_ms.is_some_and(|ms| ms > 1000), "{page:?}");
        listed.push(page.forums[0].forum_id);
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, opened);
    let enough = format!("forum replicas f{} 2", opened[1]);
    assert_eq!(ctl(&hub, &enough).await.0, 0);
    let (_, table) = ctl(&hub, "forums --unhealthy").await;
    assert!(
        !table.contains(&format!("f{} ", opened[1])) && table.contains(&format!("f{} ", opened[2])),
        "{table}"
    );

    // Nobody else is there to take a third copy.
    eventually(|| async {
        let (_, shown) = ctl(&hub, &format!("forum show f{}", opened[0])).await;
        if shown.contains("lacks ") && shown.contains("garden shed") { Ok(()) } else { Err(shown) }
    })
    .await;

    drop(shed);
    let last = eventually(|| async {
        let (status, told) = hub.get("/readyz").await;
        if status == 200 && told.contains("5 of 5 forums") && told.contains("one live copy left") {
            Ok(told)
        } else {
            Err(told)
        }
    })
    .await;
    assert!(last.contains(&format!("on p{} \"attic\"", attic.id)), "{last}");
    let peers = hub.admin().peers().await.unwrap();
    let away: Vec<bool> = peers.iter().map(|peer| peer.away_ms.is_some()).collect();
    assert_eq!(away, [false, true], "{peers:?}");
    let (_, shown) = ctl(&hub, &format!("forum show f{}", opened[0])).await;
    assert!(shown.contains("1 live, 3 wanted: too few for") && shown.contains("not live  p"), "{shown}");

    drop(attic);
    let told = hub.told(503).await;
    assert!(told.contains("none of the 2 peers is connected"), "{told}");
    let told = eventually(|| async {
        let (_, told) = hub.get("/readyz").await;
        if told.contains("no live copy") { Ok(told) } else { Err(told) }
    })
    .await;
    assert!(told.contains("\"attic\" or p") && told.contains("\"garden shed\" is back"), "{told}");
    let lines = [
        "loop_forums{live=\"0\"} 5",
        "loop_ready 0",
        "loop_quorum 1",
        "loop_peers_connected 0",
        "loop_peers 2",
    ];
    eventually(|| async {
        let (_, metrics) = hub.get("/metrics").await;
        let missing = lines.iter().find(|line| !metrics.lines().any(|has| has == **line));
        missing.map_or(Ok(()), |line| Err(format!("{line} in {metrics}")))
    })
    .await;
    let (code, status) = ctl(&hub, "status --json").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((code, &status["health"]["forums_without_live_copy"]), (5, &5.into()));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_says_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(folder.path()).await;
    let _attic = Volunteer::join(&hub, "attic").await;
    hub.told(200).await;
    open(&hub, 1).await;
    eventually(|| async {
        let (_, text) = hub.get("/metrics").await;
        let word = |line: &str, at| line.split([' ', '{']).nth(at).unwrap_or_default().to_owned();
        let helped: BTreeSet<String> =
            text.lines().filter(|line| line.starts_with("# HELP ")).map(|line| word(line, 2)).collect();
        let typed: BTreeSet<String> =
            text.lines().filter(|line| line.starts_with("# TYPE ")).map(|line| word(line, 2)).collect();
        assert_eq!(helped, typed, "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let name = word(line, 0);
            let is_helped = ["", "_sum", "_count", "_bucket"]
                .iter()
                .any(|end| name.strip_suffix(end).is_some_and(|name| helped.contains(name)));
            assert!(is_helped, "{line}");
        }
        // Measured a moment later.
        match helped.contains("loop_held") && helped.contains("loop_forums") {
            true => Ok(()),
            false => Err(text),
        }
    })
    .await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_was_sent_before_is_no_traffic() {
    const SENT: u32 = 200;
    let folder = tempfile::tempdir().unwrap();
    let hub = LoneHub::start(folder.path()).await;
    let attic = Volunteer::join(&hub, "attic").await;
    hub.told(200).await;
    (1..=SENT).for_each(|number| hub.post("ajps_health_rates", number));
    let sent = |forums: Vec<v1::ForumInfo>| {
        forums
            .into_iter()
            .find(|forum| forum.tasks_appended == u64::from(SENT))
            .ok_or("not all yet".to_owned())
    };
    let admin = hub.admin();
    let busy = eventually(|| async {
        let forum = sent(admin.forums(None, 10).await.map_err(|no| no.to_string())?.0)?;
        if forum.tasks_per_minute > 0 { Ok(forum) } else { Err("no rate yet".to_owned()) }
    })
    .await;
    println!("{} tasks a minute while they were sent", busy.tasks_per_minute);
    drop(attic);
    hub.stop().await;

    let hub = LoneHub::start(folder.path()).await;
    let admin = hub.admin();
    eventually(|| async { sent(admin.forums(None, 10).await.map_err(|no| no.to_string())?.0) }).await;
    // A rate that began with a burst would be seen for more than ten seconds.
    for _ in 0..15 {
        let forum = sent(admin.forums(None, 10).await.unwrap().0).unwrap();
        assert_eq!(forum.tasks_per_minute, 0, "nobody has sent anything since");
        sleep(Duration::from_millis(200)).await;
    }
    hub.stop().await;
}
