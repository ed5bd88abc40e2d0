//! Requests no honest browser makes: each gets a clear status and no word about the inside, nothing falls, memory
//! stays bounded, stored text never becomes script, and an honest visitor beside it notices nothing.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use loop_sim_tests::{
    bystander::Bystander,
    client::{Commit, Visitor, sid},
    expect::unique,
    raw_http::{self, RawAnswer, request},
    resources::resident_bytes,
    system::System,
};

/// Resident memory of a hub or peer after all of this, bytes.
const RESIDENT_MAX: u64 = 300 << 20;

/// What an honest call may take beside all this, on two cores.
const SLOWEST: Duration = Duration::from_secs(3);

/// Words of our inside, or of what the PHP said when its database refused.
const INSIDE: [&str; 9] = [
    "panicked",
    "sqlite",
    "select ",
    "syntax error",
    "unable to execute",
    "src/",
    ".rs:",
    "/root",
    "rusqlite",
];

fn assert_silent_about_the_inside(what: &str, answer: &RawAnswer) {
    let said = format!("{}\n{}", answer.head, answer.body).to_lowercase();
    for word in INSIDE {
        assert!(!said.contains(word), "{what} was answered with {word:?}: {said}");
    }
}

async fn assert_status(hub: SocketAddr, what: &str, bytes: &[u8], allowed: &[u16]) -> Result<RawAnswer> {
    let answer = raw_http::send(hub, bytes).await.map_err(|error| error.context(what.to_owned()))?;
    let status = answer.status.unwrap_or(0);
    assert!(
        allowed.contains(&status),
        "{what}: status {status}, expected one of {allowed:?}\n{}",
        answer.body
    );
    assert_silent_about_the_inside(what, &answer);
    Ok(answer)
}

/// Runs `misbehave` beside an honest visitor, then looks at memory and logs.
async fn beside_an_honest_visitor(misbehave: impl AsyncFnOnce(&System) -> Result<()>) -> Result<()> {
    let mut system = System::start().await?;
    let honest = Bystander::start(&system.hubs()).await?;
    misbehave(&system).await?;
    honest.assert_undisturbed(SLOWEST).await?;
    for member in system.cluster.members() {
        let resident = resident_bytes(member.pid.expect("it runs"))?;
        println!("{} holds {} MiB", member.name, resident >> 20);
        assert!(resident <= RESIDENT_MAX, "{} holds {} MiB", member.name, resident >> 20);
    }
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_http_is_refused() -> Result<()> {
    beside_an_honest_visitor(async |system: &System| {
        let hub = system.cluster.hub_http(0);
        let long_header = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
        let long_target = format!("/search-chat.php?passcode={}", "x".repeat(100_000));
        let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
            ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &[400]),
            ("a version there is not", b"GET / HTTP/7.3\r\n\r\n".to_vec(), &[400, 505]),
            ("a NUL in the target", request(b"GET", b"/search-chat.php?a=\0b", "", b""), &[400]),
            ("a space in the target", request(b"GET", b"/search chat.php", "", b""), &[400]),
            ("an unknown method", request(b"EXPLODE", b"/search-chat.php?passcode=x", "", b""), &[405]),
            ("a method for files elsewhere", request(b"DELETE", b"/index.php?passcode=x", "", b""), &[405]),
            ("a header of 1 MiB", request(b"GET", b"/", &long_header, b""), &[400, 431]),
            ("a URL of 100,000 bytes", request(b"GET", long_target.as_bytes(), "", b""), &[414, 400, 431]),
            ("a negative length", request(b"POST", b"/index.php", "Content-Length: -1\r\n", b""), &[400]),
            (
                "two lengths that differ",
                request(b"POST", b"/index.php", "Content-Length: 1\r\nContent-Length: 2\r\n", b"ab"),
                &[400],
            ),
            (
                "a broken chunk",
                request(
                    b"POST",
                    b"/index.php",
                    "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n",
                    b"zz\r\nx\r\n0\r\n\r\n",
                ),
                &[400],
            ),
        ];
        for (what, bytes, allowed) in cases {
            assert_status(hub, what, &bytes, allowed).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_10_mb_are_refused_without_being_kept() -> Result<()> {
    beside_an_honest_visitor(async |system: &System| {
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let body = [b"message=".to_vec(), vec![b'x'; 10 << 20]].concat();
        let length = format!("{form}Content-Length: {}\r\n", body.len());
        let announced = request(b"POST", b"/index.php?action=ssshout&passcode=x", &length, &body);
        let chunk = [format!("{:x}\r\n", body.len()).into_bytes(), body, b"\r\n0\r\n\r\n".to_vec()].concat();
        let chunked = format!("{form}Transfer-Encoding: chunked\r\n");
        let streamed = request(b"POST", b"/index.php?action=ssshout&passcode=x", &chunked, &chunk);
        let hubs: Vec<SocketAddr> =
            (0..system.cluster.hub_count()).map(|at| system.cluster.hub_http(at)).collect();
        for _ in 0..5 {
            for hub in &hubs {
                let sendings = [("announced", &announced), ("streamed", &streamed)];
                for (what, bytes) in sendings {
                    assert_status(*hub, what, bytes, &[413]).await?;
                }
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_parameters_are_answered_and_change_nothing_they_should_not() -> Result<()> {
    beside_an_honest_visitor(async |system: &System| {
        let forum = unique("ajps_odd_");
        let hub = system.hub(0);
        let owner = Visitor::arrive(&hub, &forum).await?;
        let kept = sid(&owner.commit(&hub, &Commit::new(1, "stays")).await?).expect("an id");
        let stranger = Visitor::arrive(&hub, &forum).await?;

        let at = system.cluster.hub_http(1);
        let ses = stranger.session();
        let shout = format!(
            "/index.php?action=ssshout&remoteapp=true&cs=21633478&callback=c&ses={ses}&passcode={forum}"
        );
        let read = format!("/search-chat.php?callback=c&ses={ses}&passcode={forum}");
        let mut targets: Vec<String> = vec![
            format!("{read}&records=%27%3B+DROP+TABLE+tbl_ssshout%3B--"),
            format!("{shout}&message=x&shout_id={kept}+OR+1%3D1"),
            format!("{shout}&message=x&shout_id={kept}"),
            format!("{shout}&message=x&whisper_to=1.2.3.4:1+UNION+SELECT+1&your_name=%27%3B--"),
            format!("{shout}&message=x&lat=abc&lon=1e999&msg_id=%00%ff%fe"),
            format!("/de.php?callback=c&ses={ses}&passcode={forum}&mid={kept}+OR+1%3D1"),
            format!("/de.php?callback=c&ses={ses}&passcode={forum}&mid={kept}"),
            format!("/de.php?callback=c&ses={ses}&passcode={forum}&mid={kept}&just_typing=on"),
            format!("/de.php?callback=c&ses={ses}&passcode={}&mid={kept}", unique("ajps_elsewhere_")),
            "/search-chat.php?callback=c&passcode=%ff%fe%00&records=5".to_owned(),
            "/search-chat.php?callback=c&%%%&=&&;;&passcode[]=x&passcode[a][b]=y&%zz=%".to_owned(),
            format!("/search-chat.php?callback=c&ses={}&passcode={forum}", "A".repeat(4000)),
            format!("{read}&ses=..%2F..%2Fetc%2Fpasswd&reading=1+OR+1%3D1"),
        ];
        for number in
            ["-1", "0", "4294967295", "4294967296", "99999999999999999999999", "1e9", "NaN", "0x10", "1.5"]
        {
            targets.push(format!("{read}&records={number}"));
            targets.push(format!("{shout}&message=m{number}&shout_id={number}"));
            targets.push(format!("/de.php?callback=c&ses={ses}&passcode={forum}&mid={number}"));
        }
        for target in &targets {
            let answer =
                assert_status(at, target, &request(b"GET", target.as_bytes(), "", b""), &[200, 400, 413])
                    .await?;
            if answer.status == Some(200) {
                assert!(answer.body.contains("c("), "{target} is answered in its envelope: {}", answer.body);
            }
        }
        let many = format!("/search-chat.php?{}", "a=1&".repeat(3000));
        assert_status(at, "3,000 parameters", &request(b"GET", many.as_bytes(), "", b""), &[413, 414])
            .await?;

        let messages = owner.messages(&hub, 100).await?;
        let found = messages.iter().find(|(id, _)| *id == kept);
        assert!(found.is_some_and(|(_, text)| text.ends_with("stays")), "{found:?} of {messages:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_that_are_no_names_are_refused() -> Result<()> {
    beside_an_honest_visitor(async |system: &System| {
        let hub = system.cluster.hub_http(2);
        let callbacks =
            ["alert(1)//", "a;b", "<script>", "a%0Ab", "a%00b", "%FF", "a%20b", "1abc", "a()", "a%27", "é"];
        let long = "a".repeat(200);
        for script in ["search-chat.php", "index.php", "de.php", "logged-status.php"] {
            for callback in callbacks.iter().copied().chain([long.as_str()]) {
                let target =
                    format!("/{script}?passcode=x&remoteapp=true&action=ssshout&callback={callback}");
                let bytes = request(b"GET", target.as_bytes(), "", b"");
                let answer = assert_status(hub, &target, &bytes, &[400]).await?;
                assert!(
                    !answer.body.contains("alert(1)") && !answer.body.contains("<script"),
                    "{}",
                    answer.body
                );
                assert!(!answer.head.contains("text/html"), "not a page: {}", answer.head);
            }
        }
        for callback in ["jQuery111_222", "a.b.c", "$", "_"] {
            let target = format!("/search-chat.php?passcode=x&callback={callback}");
            let answer =
                assert_status(hub, &target, &request(b"GET", target.as_bytes(), "", b""), &[200]).await?;
            assert!(answer.body.contains(&format!("{callback}(")), "{}", answer.body);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_never_becomes_script() -> Result<()> {
    beside_an_honest_visitor(async |system: &System| {
        let forum = unique("ajps_script_");
        let hub = system.hub(0);
        let visitor = Visitor::arrive(&hub, &forum).await?;
        let texts = [
            "<script>alert(1)</script>",
            "<i onmouseover=\"alert(1)\">x</i>",
            "<img src=x onerror=alert(1)>",
            "http://x.com/\"onmouseover=\"alert(1) y",
            "javascript:alert(1) http://a.b/javascript:alert(1)",
            " http://a.b/'><script>alert(1)</script>.jpg",
            "\"); alert(1); //",
            "'); alert(1); ('",
            "<<script>script>alert(1)<</script>/script>",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "\u{0}<scr\u{0}ipt>alert(1)",
            "\u{202e}tpircs\u{2028}\u{2029}",
        ];
        for (msg_id, text) in (1..).zip(texts) {
            visitor.commit(&hub, &Commit::new(msg_id, text)).await?;
        }
        let named = format!(
            "/index.php?action=ssshout&remoteapp=true&cs=21633478&callback=c&ses={}&passcode={forum}&message=named\
             &your_name=%22%29%3Balert(1)%3B%2F%2F%3Cscript%3E%27&msg_id=99",
            visitor.session()
        );
        raw_http::get(system.cluster.hub_http(1), named.as_bytes()).await?;
        let messages = visitor.messages(&system.hub(2), 100).await?;
        assert_eq!(messages.len(), texts.len() + 1, "{messages:#?}");
        for (_, html) in &messages {
            assert_harmless(html);
        }
        let page = format!("/search-secure.php?uniqueFeedbackId={forum}%22%3E%3Cscript%3Ealert(1)%3C/script%3E\
                            &cssFeedback=%22%3E%3Cscript%3Ealert(2)&server=javascript:alert(3)&clientremoteurl=%22onload=alert(4)");
        let page = raw_http::get(system.cluster.hub_http(1), page.as_bytes()).await?;
        assert_eq!(page.status, Some(200));
        for scripted in ["<script>alert(1)", "<script>alert(2)", "\"onload=", "\"javascript:alert(3)\""] {
            assert!(!page.body.contains(scripted), "the page holds {scripted}");
        }
        Ok(())
    })
    .await
}

/// The only handler a message may carry is AtomJump's own link to its author, and its strings must hold.
fn assert_harmless(html: &str) {
    let lower = html.to_lowercase();
    assert!(!lower.contains("<script"), "{html}");
    let tags = lower.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
    for tag in tags {
        let words: Vec<&str> =
            tag.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '/')).collect();
        let handlers = words.iter().filter(|word| word.starts_with("on") && word.contains('=')).count();
        let author = tag.starts_with("a href='#' onclick='whisper(\"");
        assert_eq!(handlers, usize::from(author), "{html}");
        assert!(!tag.contains("javascript:") || !tag.contains("href=\"javascript:"), "{html}");
    }
    assert!(!lower.contains("href='javascript:") && !lower.contains("src='javascript:"), "{html}");
    assert!(!lower.contains("&lt;script&gt;alert(1)&lt;/script&gt;</script"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_there() -> Result<()> {
    beside_an_honest_visitor(async |system: &System| {
        let hub = system.cluster.hub_http(0);
        let cases: [(&str, &[u16]); 14] = [
            ("/nothing.php", &[404]),
            ("/bck.php?code=1", &[404]),
            ("/copy-image.php", &[404]),
            ("/config/config.json", &[404]),
            ("/../../etc/passwd", &[400, 404]),
            ("/%2e%2e/%2e%2e/etc/passwd", &[400, 404]),
            ("/front/..%2f..%2f..%2fetc/passwd", &[400, 404]),
            ("/front/%00.js", &[400, 404]),
            ("//etc/passwd", &[400, 404]),
            ("/.git/HEAD", &[404]),
            ("/api/api/search-chat.php", &[404]),
            ("/confirm.php", &[501]),
            ("/upload-photo.php", &[501]),
            ("/download.php", &[501]),
        ];
        for (target, allowed) in cases {
            let answer =
                assert_status(hub, target, &request(b"GET", target.as_bytes(), "", b""), allowed).await?;
            assert!(!answer.body.contains("root:"), "{target}: {}", answer.body);
        }
        Ok(())
    })
    .await
}
