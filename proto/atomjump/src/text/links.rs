//! What AtomJump turns into links and pictures: addresses after white space, `forum@`, `pay 5 dollars`, YouTube, `.jpg`.
//!
//! An address is made of characters that can stand in an attribute in either kind of quotes; anything else ends it.

use super::{render::Html, strip::Piece};

/// Link texts of this many characters and more are shown as one word.
const LONG_LABEL_CHARS: usize = 50;

enum Node<'a> {
    Text(&'a str),
    OpenItalic,
    CloseItalic,
    Pay { text: &'a str, amount: &'a str, currency: &'static str },
    Forum { word: &'a str },
    Address(Address<'a>),
}

struct Address<'a> {
    text: &'a str,
    /// `text` without its scheme.
    rest: &'a str,
    is_https: bool,
}

/// What links inside a message need to know.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    /// Where payment pages and uploaded pictures are served, without trailing slash; empty if unknown.
    pub base_url: &'a str,
    /// Whom to pay.
    pub user: Option<u32>,
    /// The message, if it has been given its id before this text.
    pub message: Option<u32>,
}

/// Writes a message's pieces, links made, into `html`.
pub fn write(html: &mut Html, pieces: &[Piece], links: Links<'_>) {
    let mut nodes = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            // The message follows the name's colon and its white space.
            Piece::Text(text) => split(text, index == 0, &mut nodes),
            Piece::OpenItalic => nodes.push(Node::OpenItalic),
            Piece::CloseItalic => nodes.push(Node::CloseItalic),
        }
    }
    // AtomJump gives all links of a message one scheme, so that a page served by https stays whole.
    let has_https = nodes.iter().any(|node| match node {
        Node::Address(address) => address.is_https,
        Node::Pay { .. } => links.base_url.starts_with("https://"),
        Node::Text(_) | Node::OpenItalic | Node::CloseItalic | Node::Forum { .. } => false,
    });
    let scheme = if has_https { "https" } else { "http" };
    for node in &nodes {
        write_node(html, node, scheme, links);
    }
}

fn write_node(html: &mut Html, node: &Node<'_>, scheme: &str, links: Links<'_>) {
    match node {
        Node::Text(text) => html.text(text),
        Node::OpenItalic => html.open_italic(),
        Node::CloseItalic => html.close_italic(),
        Node::Pay { text, amount, currency } => {
            let base = links.base_url.split_once("://").map_or("", |(_, base)| base);
            let user = links.user.map(|id| id.to_string()).unwrap_or_default();
            let message = links.message.map(|id| id.to_string()).unwrap_or_default();
            html.space_before_link();
            html.element(&format!(
                "<a target=\"_blank\" href=\"{scheme}://{base}/p2p-payment.php?user_id={user}&amount={amount}\
                 &currencyCode={currency}&msgid={message}\">{text}</a>"
            ));
        }
        Node::Forum { word } => {
            html.space_before_link();
            html.element(&format!(
                "<a target=\"_blank\" href=\"{scheme}://{word}.atomjump.com\">{word}@</a>"
            ));
        }
        Node::Address(address) => write_address(html, address, scheme, links),
    }
}

fn write_address(html: &mut Html, address: &Address<'_>, scheme: &str, links: Links<'_>) {
    let Address { text, rest, .. } = *address;
    let mut target = rest.to_owned();
    let source = if text.len() == rest.len() { format!("{scheme}://{rest}") } else { text.to_owned() };
    let shown = if let Some(video) = youtube_video(rest) {
        format!(
            "<img class=\"img-responsive\" width=\"80%\" src=\"https://img.youtube.com/vi/{video}/0.jpg\">\
             <img src=\"https://atomjump.com/images/play.png\" width=\"32\" height=\"32\" border=\"0\">"
        )
    } else if let Some(stem) = rest.strip_suffix(".jpg") {
        if is_upload(&source, links.base_url) {
            target = format!("{stem}_HI.jpg");
            format!("<img src=\"{source}\" class=\"img-responsive\" width=\"80%\" border=\"0\">")
        } else {
            format!("<img src='{source}'  class='img-responsive' width='80%' border='0'>")
        }
    } else if text.chars().count() >= LONG_LABEL_CHARS {
        "Expand".to_owned()
    } else {
        match text.strip_suffix(".atomjump.com").filter(|word| is_word(word)) {
            Some(word) => format!("{word}@"),
            None => text.to_owned(),
        }
    };
    html.space_before_link();
    html.element(&format!("<a target=\"_blank\" href=\"{scheme}://{target}\">{shown}</a>"));
}

/// Splits text into words that are links and the text between them.
fn split<'a>(text: &'a str, after_space: bool, nodes: &mut Vec<Node<'a>>) {
    let mut begin = 0;
    let mut at = 0;
    let mut at_word = after_space;
    while at < text.len() {
        let rest = &text[at..];
        if at_word && let Some((node, length)) = link(rest) {
            if begin < at {
                nodes.push(Node::Text(&text[begin..at]));
            }
            nodes.push(node);
            at += length;
            begin = at;
            at_word = false;
            continue;
        }
        let c = rest.chars().next().expect("at is before the end, on a character");
        at_word = c.is_ascii_whitespace();
        at += c.len_utf8();
    }
    if begin < text.len() {
        nodes.push(Node::Text(&text[begin..]));
    }
}

/// The link at the start of `rest` and its length in bytes.
fn link(rest: &str) -> Option<(Node<'_>, usize)> {
    pay(rest).or_else(|| forum(rest)).or_else(|| address(rest))
}

/// `pay 5.50 dollars`
fn pay(rest: &str) -> Option<(Node<'_>, usize)> {
    let word = rest.get(..3).filter(|word| word.eq_ignore_ascii_case("pay"))?;
    let after = &rest[word.len()..];
    let amount_at = rest.len() - after.trim_start_matches(' ').len();
    let amount_length = rest[amount_at..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let amount = &rest[amount_at..amount_at + amount_length];
    if amount_at == word.len() || amount_length > 12 || amount.parse::<f64>().is_err() {
        return None;
    }
    let after = &rest[amount_at + amount_length..];
    let unit_at = rest.len() - after.trim_start_matches(' ').len();
    let unit: &str = &rest[unit_at..][..rest[unit_at..].bytes().take_while(u8::is_ascii_alphabetic).count()];
    let currency = match unit.to_ascii_lowercase().as_str() {
        "pound" | "pounds" => "GBP",
        "dollar" | "dollars" => "USD",
        _ => return None,
    };
    let length = unit_at + unit.len();
    (unit_at > amount_at + amount_length)
        .then_some((Node::Pay { text: &rest[..length], amount, currency }, length))
}

/// `test@`
fn forum(rest: &str) -> Option<(Node<'_>, usize)> {
    let length = rest.bytes().take_while(|b| is_word_byte(*b)).count();
    let word = &rest[..length];
    let after = rest[length..].strip_prefix('@')?;
    let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (is_word(word) && ends).then_some((Node::Forum { word }, length + 1))
}

/// `http://example.com/path`, `www.example.com`
fn address(rest: &str) -> Option<(Node<'_>, usize)> {
    let end = rest
        .find(|c: char| c.is_whitespace() || c.is_control() || "\"'<>`\\".contains(c))
        .unwrap_or(rest.len());
    let text = rest[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', ')']);
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let scheme = ["https://", "http://", "ftp://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let address = &text[scheme.map_or(0, str::len)..];

    let host_length =
        address.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')).count();
    let (host, mut tail) = address.split_at(host_length);
    if let Some(port) = tail.strip_prefix(':') {
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > 5 {
            return None;
        }
        tail = &port[digits..];
    }
    let is_host = host.contains('.') && host.split('.').all(|label| !label.is_empty());
    let last_label = host.rsplit('.').next().unwrap_or_default();
    // Without a scheme `5.50` and `e.g.` look like hosts too.
    let is_named =
        scheme.is_some() || (last_label.len() >= 2 && last_label.bytes().all(|b| b.is_ascii_alphabetic()));
    let is_path = tail.is_empty() || tail.starts_with(['/', '?', '#']);
    let found = Address { text, rest: address, is_https: scheme == Some("https://") };
    (is_host && is_named && is_path).then_some((Node::Address(found), text.len()))
}

fn youtube_video(address: &str) -> Option<&str> {
    let path = address.strip_prefix("youtu.be/").or_else(|| address.strip_prefix("www.youtu.be/"))?;
    let length = path.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count();
    (length > 0).then(|| &path[..length])
}

/// Whether the picture was uploaded here, so that it has a larger twin.
fn is_upload(url: &str, base_url: &str) -> bool {
    !base_url.is_empty() && url.strip_prefix(base_url).is_some_and(|path| path.starts_with("/images/im/upl"))
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.len() <= 63 && word.bytes().all(is_word_byte)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
