//! The group of hubs grows while it serves, loses its first member, lets hubs go, and hands over the lead when asked to
//! stop.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use anyhow::Result;
use loop_admin::{Admin, AdminError};
use loop_local::{LocalCluster, Who};
use loop_sim_tests::{
    client::{Commit, Visitor},
    expect::{eventually, unique},
    system::{ADMIN_TOKEN, System, binary},
};
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(30);

/// A hub that was started by hand, as an operator adds one.
struct AddedHub {
    /// Killed when this is dropped.
    process: Child,
    /// Starts it once more.
    command: Command,
    http: String,
    grpc: String,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

impl AddedHub {
    fn start(id: u64, folder: &Path, join: &str, cluster: &LocalCluster) -> Result<Self> {
        let (http, grpc) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let mut command = Command::new(binary("loop-hub"));
        command
            .args(["--node-id", &id.to_string(), "--http-listen", &http, "--grpc-listen", &grpc])
            .args(["--join", join, "--log", "warn"])
            .env("LOOP_HUB_JOIN_TOKEN", cluster.join_token())
            .env("LOOP_HUB_ADMIN_TOKEN", cluster.admin_token())
            .env("LOOP_HUB_GROUP_SECRET", cluster.group_secret())
            .arg("--data-dir")
            .arg(folder.join(format!("added-{id}")))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn()?;
        Ok(Self { process, command, http: format!("http://{http}"), grpc })
    }

    /// It was taken out of the group: it stops, and started again it says why it does not run.
    async fn ends_for_good(&mut self) -> Result<()> {
        let ended = tokio::time::timeout(SOON, self.process.wait()).await??;
        assert!(ended.success(), "{ended}");
        let again = tokio::time::timeout(SOON, self.command.output()).await??;
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(!again.status.success() && said.contains("was taken out of its group"), "{said}");
        Ok(())
    }
}

/// Asks these hubs as an operator.
fn operator(hubs: &[String]) -> Result<Admin, AdminError> {
    Admin::new(hubs, Duration::from_secs(5))?.with_token(ADMIN_TOKEN.to_owned().into())
}

/// The ids of the voters, as this hub knows them, and who leads.
async fn voters(grpc: &str) -> Result<(Vec<u64>, Option<u64>), String> {
    let admin = operator(&[grpc.to_owned()]);
    let status = admin.map_err(|e| e.to_string())?.status().await.map_err(|e| e.to_string())?;
    let voters = status.hubs.iter().filter(|hub| hub.voter).filter_map(|hub| hub.node.as_ref());
    Ok((voters.map(|node| node.node_id).collect(), status.leader))
}

async fn expect_voters(grpc: &str, wanted: &[u64]) {
    eventually("all hubs are voters", SOON, || async {
        match voters(grpc).await? {
            (voters, Some(_)) if voters == wanted => Ok(()),
            other => Err(format!("voters and leader are {other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_hub_becomes_three_and_the_first_can_go() -> Result<()> {
    let mut system = System::start_with(|config| (config.hubs, config.peers) = (1, 2)).await?;
    let forum = unique("ajps_growing_");
    let visitor = Visitor::open(&system.hub(0), &forum).await?;
    visitor.commit(&system.hub(0), &Commit::new(1, "written with one hub")).await?;

    let folder = tempfile::tempdir()?;
    let first = system.cluster.hub_grpc(0).to_string();
    let mut second = AddedHub::start(2, folder.path(), &first, &system.cluster)?;
    expect_voters(&second.grpc, &[1, 2]).await;
    // Pointed to a hub that does not lead: it is sent on to the one that does.
    let mut third = AddedHub::start(3, folder.path(), &second.grpc, &system.cluster)?;
    expect_voters(&third.grpc, &[1, 2, 3]).await;
    visitor.commit(&third.http, &Commit::new(2, "written through the third")).await?;

    // The peers were told of the first hub only; the others they have learnt from the hubs.
    tokio::time::sleep(Duration::from_secs(1)).await;
    system.cluster.kill(Who::Hub(0)).await?;
    eventually("the two others serve", SOON, || async {
        let commit = Commit::new(3, "written without the first");
        visitor.commit(&second.http, &commit).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let messages = visitor.messages(&third.http, 25).await?;
    for wanted in ["written with one hub", "written through the third", "written without the first"] {
        assert_eq!(
            messages.iter().filter(|(_, text)| text.contains(wanted)).count(),
            1,
            "{wanted}: {messages:?}"
        );
    }
    the_lost_one_is_taken_out_and_the_leader_goes_too(&mut second, &mut third).await?;
    let commit = Commit::new(4, "written with one hub again");
    eventually("the last one serves", SOON, || async {
        let through_both = [&second.http, &third.http];
        for hub in through_both {
            if visitor.commit(hub, &commit).await.is_ok() {
                return Ok(());
            }
        }
        Err("nobody takes a commit".to_owned())
    })
    .await;
    Ok(())
}

/// Takes a hub out, asking again as the hubs say while the lead moves.
async fn take_out(admin: &Admin, hub: u64, staying: &[u64]) {
    eventually("it is out", SOON, || async {
        match admin.remove_hub(hub).await {
            Ok(members) => {
                assert_eq!(members, staying);
                Ok(())
            }
            // An earlier attempt did it, and its answer was lost.
            Err(error) if error.exit_code() == 4 => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

/// Of three hubs one is dead: it goes first, since without one of the others there would be no majority.
async fn the_lost_one_is_taken_out_and_the_leader_goes_too(
    second: &mut AddedHub,
    third: &mut AddedHub,
) -> Result<()> {
    let admin = operator(&[second.grpc.clone(), third.grpc.clone()])?;
    let refused = admin.remove_hub(2).await.unwrap_err();
    assert_eq!(refused.exit_code(), 1, "{refused}");
    assert!(refused.to_string().contains("no majority"), "{refused}");
    assert_eq!(admin.remove_hub(9).await.unwrap_err().exit_code(), 4);
    take_out(&admin, 1, &[2, 3]).await;
    expect_voters(&second.grpc, &[2, 3]).await;
    // The one that leads hands over before it goes.
    let leader = admin.status().await?.leader.unwrap_or_default();
    let (goes, stays, grpc) = if leader == 2 { (second, 3, &third.grpc) } else { (third, 2, &second.grpc) };
    take_out(&admin, leader, &[stays]).await;
    expect_voters(grpc, &[stays]).await;
    goes.ends_for_good().await?;
    let last = operator(std::slice::from_ref(grpc))?.remove_hub(stays).await.unwrap_err();
    assert!(last.to_string().contains("the only hub"), "{last}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_asked_to_stop_hands_over_first() -> Result<()> {
    let mut system = System::start().await?;
    let leader = system.leader().await?;
    let Who::Hub(at) = leader else { panic!("a hub leads") };
    let follower = system.cluster.hub_grpc((at + 1) % 3).to_string();
    let stopped = system.cluster.stop(leader).await;
    assert!(format!("{stopped:?}").contains("Gracefully"), "{stopped:?}");
    let leader_then = u64::try_from(at)? + 1;
    // It is gone only after another leads, so that nobody has to find out by silence.
    let (_, now) = voters(&follower).await.map_err(anyhow::Error::msg)?;
    assert!(now.is_some_and(|now| now != leader_then), "who leads now: {now:?}");
    Ok(())
}
