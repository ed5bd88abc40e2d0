use proptest::prelude::*;

use super::*;

const KATE: Author<'_> = Author { ip: "192.101.57.107", user: Some(414), name: "Anon 07" };
const LINKS: Links<'_> = Links { base_url: "http://127.0.0.1:18080", user: Some(414), message: None };
const NAME: &str = "<a href='#' onclick='whisper(\"192.101.57.107:414\", \"Anon 07\", true, \"\"); return false;' title='Send comment to Anon 07 privately'>Anon 07</a>:&nbsp;";

fn body(message: &str) -> String {
    let html = shouted(KATE, message, LINKS).html;
    html.strip_prefix(NAME).unwrap_or_else(|| panic!("no name in {html}")).to_owned()
}

#[test]
fn captured_messages_to_the_byte() {
    let captured = [
        ("One shot", "One shot"),
        ("", ""),
        ("   \r\n", "   \r\n"),
        ("Starting to type\r\n", "Starting to type\r\n"),
        ("It's \"quoted\" \\ back\\slash; -- # /* */", "It's \"quoted\" \\ back\\slash; -- # /* */"),
        (
            "<b>bold</b> <i>italic</i> <a href=\"http://x.example/\">link</a> 1 < 2 & 3 > 2",
            "bold <i>italic</i> link 1 < 2 & 3 > 2",
        ),
        ("a\0b", "ab"),
        (TYPING, "<i>Typing...</i>"),
        (
            "see http://example.com/a_b/c.html?x=1&y=2#z ok www.example.org end",
            "see <a target=\"_blank\" href=\"http://example.com/a_b/c.html?x=1&y=2#z\">http://example.com/a_b/c.html?x=1&y=2#z</a> ok <a target=\"_blank\" href=\"http://www.example.org\">www.example.org</a> end",
        ),
        (
            "https://example.com/path",
            "<a target=\"_blank\" href=\"https://example.com/path\">https://example.com/path</a>",
        ),
        (
            "http://example.com/pic.jpg",
            "<a target=\"_blank\" href=\"http://example.com/pic.jpg\"><img src='http://example.com/pic.jpg'  class='img-responsive' width='80%' border='0'></a>",
        ),
        (
            "http://127.0.0.1:18080/images/im/upl414-123.jpg",
            "<a target=\"_blank\" href=\"http://127.0.0.1:18080/images/im/upl414-123_HI.jpg\"><img src=\"http://127.0.0.1:18080/images/im/upl414-123.jpg\" class=\"img-responsive\" width=\"80%\" border=\"0\"></a>",
        ),
        (
            "https://youtu.be/dQw4w9WgXcQ",
            "<a target=\"_blank\" href=\"https://youtu.be/dQw4w9WgXcQ\"><img class=\"img-responsive\" width=\"80%\" src=\"https://img.youtube.com/vi/dQw4w9WgXcQ/0.jpg\"><img src=\"https://atomjump.com/images/play.png\" width=\"32\" height=\"32\" border=\"0\"></a>",
        ),
        ("go to test@ now", "go to <a target=\"_blank\" href=\"http://test.atomjump.com\">test@</a> now"),
        (
            "please pay 5.50 dollars thanks",
            "please <a target=\"_blank\" href=\"http://127.0.0.1:18080/p2p-payment.php?user_id=414&amount=5.50&currencyCode=USD&msgid=\">pay 5.50 dollars</a> thanks",
        ),
        ("hello email:bob@example.com there", "hello email:bob@example.com there"),
    ];
    for (message, expected) in captured {
        assert_eq!(body(message), expected, "{message}");
    }
}

#[test]
fn what_only_looks_like_a_link_is_text() {
    for text in [
        "costs 5.50 ok",
        "e.g. this",
        "bob@example.com",
        "foo.bar@x.com",
        "pay me",
        "payday 5 dollars",
        "..",
        "a.b:xx",
    ] {
        assert_eq!(body(text), text);
    }
    assert_eq!(
        body("(see example.com/x)."),
        "(see <a target=\"_blank\" href=\"http://example.com/x\">example.com/x</a>)."
    );
}

#[test]
fn one_https_link_makes_all_of_them_https() {
    let html = body("http://a.example https://b.example");
    assert!(html.contains("href=\"https://a.example\">http://a.example<"), "{html}");
}

#[test]
fn long_links_are_folded_and_long_messages_cut() {
    let long = format!("see https://example.com/{}end.html", "p/".repeat(40));
    assert!(body(&long).ends_with("end.html\">Expand</a>"));
    let huge = shouted(KATE, &"W".repeat(3004), LINKS);
    assert_eq!((huge.text.chars().count(), huge.html.chars().count()), (512, 1024));
}

#[test]
fn a_name_with_a_colon_is_shown_up_to_there() {
    let author = Author { name: "a: bc\"'", ..KATE };
    let shouted = shouted(author, "odd name", LINKS);
    assert_eq!(shouted.text, "a: bc\"': odd name");
    assert!(shouted.html.ends_with(" to a privately'>a</a>:&nbsp;bc\"': odd name"), "{}", shouted.html);
}

#[test]
fn attributes_and_tags_of_an_attacker_are_gone() {
    assert_eq!(body("<i onmouseover=alert(1)>hover</i>"), "<i>hover</i>");
    assert_eq!(body("<<b>script>alert(1)<<b>/script>"), "&lt;script>alert(1)&lt;/script>");
    let author = Author { name: "O'Brien &quot;);alert(1)//", ..KATE };
    let html = shouted(author, "x", LINKS).html;
    assert!(html.contains(r#""O\u0027Brien \u0026quot;);alert(1)//""#), "{html}");
    assert!(html.contains("title='Send comment to O&#39;Brien &quot;);alert(1)// privately'"), "{html}");
}

/// Every tag in `html` is one of ours, closed in order, with nothing in its attributes that could leave them.
fn check_markup(html: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        if !strip::starts_tag(&rest[1..]) {
            rest = &rest[1..];
            continue;
        }
        let end = rest.find('>').ok_or("a tag without end")?;
        let tag = &rest[..=end];
        match tag {
            "<i>" => open.push("i"),
            "</i>" if open.pop() == Some("i") => {}
            "</a>" if open.pop() == Some("a") => {}
            _ if tag.starts_with("<a href='#' onclick='whisper(\"") && tag.matches('\'').count() == 6 => {
                open.push("a")
            }
            _ if tag.starts_with("<a target=\"_blank\" href=\"http") && tag.matches('"').count() == 4 => {
                open.push("a")
            }
            _ if tag.starts_with("<img src='http") && tag.matches('\'').count() == 8 => {}
            _ if tag.starts_with("<img src=\"http") && tag.matches('"').count() == 8 => {}
            _ if tag.starts_with(
                "<img class=\"img-responsive\" width=\"80%\" src=\"https://img.youtube.com/vi/",
            ) => {}
            _ => return Err(format!("a tag that is not ours: {tag}")),
        }
        rest = &rest[end + 1..];
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

/// Text made of what breaks sanitisers.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("<".to_owned()),
        Just("<script>".to_owned()),
        Just("</script".to_owned()),
        Just("<i".to_owned()),
        Just("<i onclick=x>".to_owned()),
        Just("</i>".to_owned()),
        Just("<b>".to_owned()),
        Just("<img src=x onerror='".to_owned()),
        Just(">".to_owned()),
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("<!--".to_owned()),
        Just("&quot;".to_owned()),
        Just(" http://a.b/".to_owned()),
        Just(" javascript://x.y".to_owned()),
        Just(" https://youtu.be/x\"y".to_owned()),
        Just(".jpg ".to_owned()),
        Just(": ".to_owned()),
        Just(" pay 5 pounds".to_owned()),
        Just(" x@".to_owned()),
        Just("W".repeat(300)),
        ".{0,5}",
    ];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn markup_is_ours_balanced_and_fits(name in hostile(), message in hostile()) {
        let name = plain(cut(&name, 100));
        let shouted = shouted(Author { name: &name, ..KATE }, &message, LINKS);
        prop_assert!(shouted.html.chars().count() <= HTML_CHARS_MAX);
        prop_assert!(shouted.text.chars().count() <= TEXT_CHARS_MAX);
        prop_assert!(!shouted.html.to_ascii_lowercase().contains("<script"));
        if let Err(why) = check_markup(&shouted.html) {
            prop_assert!(false, "{}\n{}", why, shouted.html);
        }
    }

    #[test]
    fn plain_text_holds_no_tag(message in hostile()) {
        let plain = plain(&message);
        let tags = plain.match_indices('<').filter(|(at, _)| strip::starts_tag(&plain[at + 1..])).count();
        prop_assert_eq!(tags, 0);
    }
}
