//! Exchanges the contract tells of in words only. Each is made from its name and those words, and stands where it
//! stood among the captured ones, so that their lists are right.

use loop_sim_tests::client::query;
use serde_json::Value;

use crate::http::{Answer, Request};

/// Browsers by the letters the captures give them.
pub const A: &str = "e9kk7qp45o5r85vr5bkrfr6ran";
pub const B: &str = "kblr2q19qq06jdu1e1h3a0v8mf";
pub const D: &str = "cfu0j0mh4bus7ae6c9aeh2cgkb";
pub const E: &str = "mcjo1vk8bcjmnkvoj0anfola1l";
pub const T: &str = "gfvbsept1mp0jv11psd5alqlj5";

/// What `sid` must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sid {
    /// A new message: a number. It is theirs under this id.
    New(u64),
    /// A message begun before was finished, or nothing was found to finish: `""`.
    Empty,
    /// A repetition within five seconds: `false`.
    Repeated,
    /// There is no such key.
    Absent,
}

/// What must be so.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    Status(u16),
    Sid(Sid),
    /// The ids of the list, as they are there.
    List(&'static [u64]),
    /// The list has this message, a whisper to me or from me.
    Whispers(u64),
    Lacks(u64),
    Contain(&'static str),
    Body(&'static str),
    /// `ses` in the answer.
    Ses(&'static str),
    /// `ses` is a new one.
    MintedSes,
    ContentType(&'static str),
}

pub struct Told {
    /// Stands before the capture of this number and after all lower ones.
    pub number: &'static str,
    pub name: &'static str,
    pub request: Request,
    pub must: Vec<Must>,
    /// What the real one does instead, if ours is better on purpose.
    pub improved: Option<&'static str>,
}

/// Parameters a browser sends with a commit; `more` replaces and adds.
pub fn shout(session: &str, forum: &str, message: &str, more: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("callback", "jQuery1_2"),
        ("action", "ssshout"),
        ("lat", ""),
        ("lon", ""),
        ("whisper_to", ""),
        ("whisper_site", "92.27.10.17:1"),
        ("your_name", ""),
        ("passcode", forum),
        ("remoteapp", "true"),
        ("ses", session),
        ("cs", "21633478"),
        ("typing", "off"),
        ("shout_id", ""),
        ("msg_id", "1"),
        ("message", message),
    ];
    for (name, value) in more {
        match pairs.iter_mut().find(|(known, _)| known == name) {
            Some(pair) => pair.1 = value,
            None => pairs.push((name, value)),
        }
    }
    query(&pairs)
}

fn commit(session: &str, forum: &str, message: &str, more: &[(&str, &str)]) -> Request {
    Request::get(crate::compare::PHP_HOST, format!("/index.php?{}", shout(session, forum, message, more)))
        .header("Cookie", format!("PHPSESSID={session}; ses={session}"))
}

fn get(path_and_query: &str, session: &str) -> Request {
    let request = Request::get(crate::compare::PHP_HOST, path_and_query);
    if session.is_empty() { request } else { request.header("Cookie", format!("PHPSESSID={session}")) }
}

fn told(number: &'static str, name: &'static str, request: Request, must: &[Must]) -> Told {
    Told { number, name, request, must: must.to_vec(), improved: None }
}

impl Told {
    fn improved(mut self, instead_of: &'static str) -> Self {
        self.improved = Some(instead_of);
        self
    }

    /// What is not as it must be. `answer` and `value` are in their names.
    pub fn differences(&self, answer: &Answer, callback: &str) -> Vec<String> {
        let value = answer.jsonp(callback).unwrap_or_default();
        let list: Vec<(u64, bool)> = value["res"].as_array().into_iter().flatten().map(element).collect();
        let holds = |must: &Must| match must {
            Must::Status(status) => answer.status == *status,
            Must::Sid(Sid::New(id)) => value["sid"].as_u64() == Some(*id),
            Must::Sid(Sid::Empty) => value["sid"] == "",
            Must::Sid(Sid::Repeated) => value["sid"] == false,
            Must::Sid(Sid::Absent) => value.is_object() && value.get("sid").is_none(),
            Must::List(ids) => value["res"].is_array() && list.iter().map(|(id, _)| id).eq(ids.iter()),
            Must::Whispers(id) => list.contains(&(*id, true)),
            Must::Lacks(id) => !list.is_empty() && list.iter().all(|(listed, _)| listed != id),
            Must::Contain(text) => answer.body.contains(text),
            Must::Body(text) => answer.body == *text,
            Must::Ses(id) => value["ses"] == *id,
            Must::MintedSes => value["ses"].as_str().is_some_and(|id| id.len() == 26),
            Must::ContentType(kind) => answer.header("content-type") == *kind,
        };
        let failed = self.must.iter().filter(|must| !holds(must));
        failed.map(|must| format!("not {must:?}: {} {}", answer.status, answer.body)).collect()
    }
}

fn element(value: &Value) -> (u64, bool) {
    let id = value["id"].as_u64().or_else(|| value["id"].as_str()?.parse().ok());
    (id.unwrap_or_default(), value["whisper"] == true)
}

const READ: &str = "callback=jQuery1_2&lat=&lon=&units=mi&volume=1&records=25&lang=en";

/// All of them, by number.
pub fn all() -> Vec<Told> {
    let mut all = writes();
    all.extend(names_and_whispers());
    all.extend(reads());
    all.extend(others());
    all.sort_by_key(|told| told.number);
    all
}

fn writes() -> Vec<Told> {
    use Must::{List, Status};
    let test = "ajps_test";
    let three = List(&[2869, 2868, 2867]);
    let mut bad_bytes = commit(A, test, "", &[]);
    bad_bytes.target = bad_bytes.target.replace("&message=", "&message=%FF%FE+bad");
    vec![
        told(
            "021",
            "commit_duplicate_within_5s_with_shout_id",
            commit(A, test, "One shot", &[("shout_id", "2870"), ("msg_id", "4")]),
            &[Must::Sid(Sid::Repeated), three],
        ),
        told(
            "022",
            "commit_unknown_shout_id",
            commit(A, test, "lost", &[("shout_id", "99999999"), ("msg_id", "5")]),
            &[Must::Sid(Sid::Empty), three],
        ),
        told(
            "027",
            "wrong_cs",
            commit(A, test, "robot", &[("cs", "1")]),
            &[Status(200), Must::Sid(Sid::Absent), Must::ContentType("application/json"), Must::Lacks(2872)],
        ),
        told(
            "039",
            "utf8_bmp",
            commit(A, test, "こんにちは Grüße ✓ العربية", &[]),
            &[Must::Sid(Sid::New(2880))],
        ),
        told(
            "040",
            "emoji_4byte",
            commit(A, test, "before 😀 after", &[]),
            &[Must::Sid(Sid::New(2881)), Must::Contain("before \\ud83d\\ude00 after")],
        )
        .improved("an emoji is kept"),
        told("041", "invalid_utf8", bad_bytes, &[Must::Sid(Sid::New(2882))]),
        told(
            "042",
            "newlines",
            commit(A, test, "line1\r\nline2\nline3", &[]),
            &[Must::Sid(Sid::New(2883)), Must::Contain("line1\\r\\nline2\\nline3")],
        ),
        told(
            "044",
            "link",
            commit(A, test, "see http://example.com/a_b/c.html?x=1&y=2#z ok www.example.org end", &[]),
            &[Must::Sid(Sid::New(2885))],
        ),
        told("050", "forum_at_link", commit(A, test, "go to test@ now", &[]), &[Must::Sid(Sid::New(2891))]),
    ]
}

fn names_and_whispers() -> Vec<Told> {
    let second = "ajps_second";
    let read = |session: &str| get(&format!("/search-chat.php?{READ}&passcode={second}"), session);
    let to_e = [("whisper_to", "192.109.99.106:417")];
    vec![
        told(
            "054",
            "commit_same_name_other_user",
            commit(E, second, "I am E", &[("your_name", "John")]),
            &[Must::Sid(Sid::New(2895)), Must::Contain("John \\u2781")],
        ),
        told(
            "059",
            "commit_latlon",
            commit(
                D,
                second,
                "geo",
                &[("your_name", "John"), ("lat", "48.85"), ("lon", "2.35"), ("msg_id", "59")],
            ),
            &[Must::Sid(Sid::New(2900)), Must::Contain("John \\u2782"), Must::Contain("\"lat\":null")],
        ),
        told(
            "062",
            "whisper_to_user",
            commit(D, second, "psst E", &to_e),
            &[Must::Sid(Sid::New(2902)), Must::Whispers(2902)],
        ),
        told("063", "read_whisper_as_recipient", read(E), &[Must::Whispers(2902)]),
        told("064", "read_whisper_as_author", read(D), &[Must::Whispers(2902)]),
        told("065", "read_whisper_as_third_party", read(B), &[Must::Lacks(2902)]),
        told(
            "067",
            "whisper_to_ip_only",
            commit(D, second, "to ip only", &[("whisper_to", "192.109.99.106")]),
            &[Must::Sid(Sid::New(2904)), Must::Whispers(2904)],
        ),
    ]
}

fn reads() -> Vec<Told> {
    use Must::Status;
    let second = "passcode=ajps_second";
    let search = |rest: &str, session: &str| get(&format!("/search-chat.php?{rest}"), session);
    let one = format!("callback=jQuery1_2&records=1&{second}");
    vec![
        told(
            "071",
            "read_no_cookie_only_sessionId",
            search(&format!("{READ}&{second}&sessionId={E}"), ""),
            &[Must::Ses(E), Must::Whispers(2902)],
        )
        .improved("sessionId names the session, which PHP does not look at"),
        told(
            "074",
            "read_bad_session_characters",
            search(&format!("{READ}&{second}&ses=bad%20session!"), ""),
            &[Status(200), Must::MintedSes],
        ),
        told(
            "076",
            "read_session_id_longer_than_32_again",
            search(&format!("{READ}&{second}&ses={}", "a1b2".repeat(12)), ""),
            &[Status(200), Must::MintedSes],
        )
        .improved("a session id that cannot be stored is replaced"),
        told(
            "080",
            "read_callback_injection",
            search(&format!("callback=alert(1)//&records=1&{second}"), D),
            &[Status(400), Must::ContentType("text/plain; charset=utf-8")],
        )
        .improved("a callback that is no name is refused"),
        told(
            "083",
            "read_by_reading_layer_id",
            search("callback=jQuery1_2&records=3&reading=179", D),
            &[Status(200), Must::List(&[])],
        )
        .improved("no forum is made of the empty name"),
        told(
            "088",
            "read_records_text",
            search(&format!("callback=jQuery1_2&records=abc&{second}"), D),
            &[Status(200), Must::List(&[2905])],
        )
        .improved("a number that is none is 0, as in older PHP, instead of an SQL error"),
        told(
            "092",
            "read_lang_cookie_unknown",
            search(&one, D).header("Cookie", "lang=xx"),
            &[Must::Contain("  \",\"whisper\""), Must::List(&[2905, 2904])],
        ),
    ]
}

fn others() -> Vec<Told> {
    use Must::{Contain, Status};
    let mut post = Request::get(crate::compare::PHP_HOST, "/index.php?callback=jQuery1_2")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Cookie", format!("PHPSESSID={D}"));
    post.method = "POST".to_owned();
    post.body = shout(D, "ajps_second", "by POST", &[("callback", "notthisone")]);
    let notify = "ajps_notify";
    let tess = |message, more: &[(&str, &str)]| {
        commit(T, notify, message, &[&[("your_name", "Tess")], more].concat())
    };
    let fast = |rest: &str| Request::get(crate::compare::FAST_HOST, format!("/search-chat.php?{rest}"));
    vec![
        told("104", "index_post_form", post, &[Must::Sid(Sid::New(2907)), Status(200)]),
        told(
            "107",
            "write_no_session_at_all",
            // Not without one, but with a new one: the captured one's first letters are in the name.
            get(
                &format!(
                    "/index.php?{}",
                    shout("3pv0without0a0session00000", "ajps_second", "who am I", &[])
                ),
                "",
            ),
            &[Must::Sid(Sid::New(2910)), Contain("Anon 18")],
        ),
        told(
            "107",
            "write_no_session_at_all, elsewhere",
            get(&format!("/index.php?{}", shout("", "ajps_nobody", "who am I", &[])), ""),
            &[Status(200), Must::MintedSes, Contain("who am I"), Contain("\"sid\":")],
        ),
        told("187", "check_status", get("/check-status.php", ""), &[Status(200), Must::Body("")]),
        told(
            "192",
            "page_load_missing_forum",
            get("/search-secure.php?width=1322&height=302", D),
            &[Status(200), Must::ContentType("text/html; charset=utf-8"), Contain("ajFeedback")],
        ),
        told(
            "206",
            "commit_shout_id_of_other_forum",
            tess("not yours", &[("shout_id", "2873")]),
            &[Must::Sid(Sid::Empty), Must::List(&[2916])],
        ),
        told(
            "208",
            "msg_id_html",
            tess("odd msg id", &[("msg_id", "<b>9</b>")]),
            &[Must::Sid(Sid::New(2918)), Contain("\"lid\":\"<b>9<\\/b>\"")],
        ),
        told(
            "209",
            "short_code_twt",
            tess("to twitter", &[("short_code", "twt"), ("public_to", "someone")]),
            &[Must::Sid(Sid::New(2919))],
        )
        .improved("no message says it was sent where it was not"),
        told(
            "222",
            "fast_no_session_id",
            fast("callback=cb&passcode=ajps_test&records=1"),
            &[Status(400), Must::Body("")],
        ),
        told(
            "226",
            "fast_lang_cookie",
            fast(&format!("callback=jQuery1_2&passcode=ajps_test&records=1&sessionId={A}"))
                .header("Cookie", "lang=es"),
            &[Status(200), Contain(" hace\""), Must::List(&[2893, 2892])],
        ),
    ]
}
