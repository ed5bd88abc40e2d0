//! Session ids, forum names and the volunteers' token are secrets. They are used here in every way there is, with the
//! processes as talkative as they can be, and then looked for in all logs, metrics and operators' answers.

use anyhow::Result;
use loop_local::Who;
use loop_proto::ids::ForumKey;
use loop_sim_tests::{
    client::{Commit, Visitor, client, query, sid},
    expect::unique,
    raw_http,
    system::System,
};

struct Secrets {
    forum: String,
    private_forum: String,
    sessions: Vec<String>,
    token: String,
}

impl Secrets {
    /// What must not be found, with a name that may be shown.
    fn needles(&self) -> Vec<(String, String)> {
        let mut needles = vec![("the join token".to_owned(), self.token.clone())];
        for (name, forum) in
            [("a forum's name", &self.forum), ("a private forum's name", &self.private_forum)]
        {
            needles.push((name.to_owned(), forum.clone()));
            // Whoever has the hash can check a guessed name against it.
            needles.push((format!("the hash of {name}"), ForumKey::of_name(forum.as_bytes()).to_hex()));
        }
        for session in &self.sessions {
            needles.push(("a session id".to_owned(), session.clone()));
        }
        needles
    }

    fn assert_not_in(&self, place: &str, text: &str) {
        let lower = text.to_lowercase();
        for (what, secret) in self.needles() {
            let found = lower.lines().find(|line| line.contains(&secret.to_lowercase()));
            assert!(found.is_none(), "{what} is in {place}: {}", found.unwrap_or_default());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_no_log_and_no_metric() -> Result<()> {
    let token = unique("tok");
    let mut system = System::start_with(|config| {
        config.join_token = Some(token.clone());
        let talkative = "info,loop_hub=trace,loop_net=trace,loop_peer=trace,loop_raft_store=trace";
        for variable in ["LOOP_HUB_LOG", "LOOP_PEER_LOG"] {
            config.env.push((variable.to_owned(), talkative.to_owned()));
        }
    })
    .await?;
    let (forum, private_forum) = (unique("ajps_secret_"), unique("ajps_private_"));
    let mut secrets = Secrets { forum, private_forum, sessions: Vec::new(), token };

    converse(&system, &mut secrets).await?;
    provoke(&system, &secrets).await?;
    // A peer that is lost and comes back makes everybody talk about the forum's state.
    let primary = system.replicas(&secrets.forum).await?[0];
    system.cluster.kill(primary).await?;
    converse(&system, &mut secrets).await?;
    system.cluster.start_all().await?;
    system.cluster.restart(Who::Hub(0)).await?;
    converse(&system, &mut secrets).await?;

    for at in 0..system.cluster.hub_count() {
        let metrics = client(std::time::Duration::from_secs(10));
        let text = metrics.get(format!("{}/metrics", system.hub(at))).send().await?.text().await?;
        assert!(text.contains("# TYPE"), "hub-{} has metrics: {text}", at + 1);
        secrets.assert_not_in(&format!("the metrics of hub-{}", at + 1), &text);
    }
    system.cluster.stop_all(|_, _| {}).await;
    let logs = system.logs()?;
    assert!(
        logs.iter().any(|(_, log)| log.contains("f178")),
        "somebody speaks of the first forum, by its id"
    );
    for (name, log) in logs {
        secrets.assert_not_in(&format!("the log of {name}"), &log);
    }
    Ok(())
}

/// What honest visitors do.
async fn converse(system: &System, secrets: &mut Secrets) -> Result<()> {
    let hubs = system.hubs();
    for (at, forum) in [&secrets.forum, &secrets.private_forum].into_iter().enumerate() {
        let hub = &hubs[at % hubs.len()];
        let visitor = Visitor::arrive(hub, forum).await?;
        secrets.sessions.push(visitor.session().to_owned());
        let typing = sid(&visitor.type_first_key(hub, 1).await?);
        let commit = Commit { shout_id: typing, ..Commit::new(1, "hello") };
        visitor.commit(&hubs[(at + 1) % hubs.len()], &commit).await?;
        let gone = sid(&visitor.commit(hub, &Commit::new(2, "gone soon")).await?).expect("an id");
        visitor.hide(hub, gone, false).await?;
        let page = query(&[("uniqueFeedbackId", forum.as_str()), ("ses", visitor.session())]);
        for script in ["search-secure.php", "logged-status.php", "confirm.php", "download.php"] {
            let url = format!("{hub}/{script}?passcode={}&{page}&callback=c", visitor.forum());
            let answer = client(std::time::Duration::from_secs(10)).get(url).send().await?;
            answer.bytes().await?;
        }
    }
    Ok(())
}

/// What goes wrong with secrets in it.
async fn provoke(system: &System, secrets: &Secrets) -> Result<()> {
    let (forum, session) = (&secrets.forum, &secrets.sessions[0]);
    let hub = system.cluster.hub_http(1);
    let targets = [
        format!("/search-chat.php?passcode={forum}&ses={session}&callback=alert(1)"),
        format!("/{forum}.php?ses={session}"),
        format!("/images/{forum}/{session}.jpg"),
        format!("/search-chat.php?passcode={forum}&records=-5&sessionId={session}"),
        format!("/index.php?action=ssshout&passcode={forum}&ses={session}&cs=1&message=x&shout_id={session}"),
        format!("/index.php?action=ssshout&passcode={forum}{}&ses={session}", "x".repeat(20_000)),
        format!("/de.php?passcode={forum}&mid={session}&ses={session}"),
    ];
    for target in &targets {
        raw_http::get(hub, target.as_bytes()).await?;
    }
    let cookie = format!("Cookie: PHPSESSID={session}; ses={session}\r\nContent-Length: 100\r\n");
    let cut_short =
        raw_http::request(b"POST", format!("/index.php?passcode={forum}").as_bytes(), &cookie, b"a=");
    let _cut = tokio::time::timeout(std::time::Duration::from_secs(1), raw_http::send(hub, &cut_short)).await;
    Ok(())
}
