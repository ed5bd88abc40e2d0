//! PHP's session data as the typed record that means the same.

use std::collections::BTreeMap;

use loop_proto::v1;

/// Sessions made and last changed by captures the set lacks.
pub const SESSIONS: [(&str, &str); 5] = [
    (
        "mcjo1vk8bcjmnkvoj0anfola1l",
        "authenticated-layer|s:0:\"\";view-count|i:1;logged-user|i:417;user-ip|s:14:\"192.109.99.106\";temp-user-name|s:4:\"John\";lat|i:51;lon|i:0;access-layer-granted|s:4:\"true\";",
    ),
    (
        "hovu9dnhs8g7sp7jdk8fgnrf3i",
        "authenticated-layer|s:3:\"186\";view-count|i:1;logged-user|s:3:\"430\";logged-email|s:15:\"sam@example.com\";user-ip|s:15:\"192.104.111.118\";logged-group-user|s:3:\"431\";layer-group-user|s:3:\"431\";access-layer-granted|s:4:\"true\";",
    ),
    (
        "gfvbsept1mp0jv11psd5alqlj5",
        "authenticated-layer|s:0:\"\";view-count|i:1;logged-user|i:437;user-ip|s:15:\"192.103.102.118\";temp-user-name|s:4:\"Tess\";lat|i:51;lon|i:0;access-layer-granted|s:4:\"true\";",
    ),
    (
        "ovpgnvoo2ldfhadqu574n48ce1",
        "view-count|i:1;logged-user|i:442;user-ip|s:15:\"192.111.118.112\";access-layer-granted|s:5:\"false\";",
    ),
    (
        "k4ne5a0h3acpl2q0ao4nomnpj5",
        "view-count|i:1;logged-user|i:443;user-ip|s:14:\"192.107.52.110\";access-layer-granted|s:3:\"190\";access-layers-granted|s:13:\"[\"186\",\"190\"]\";",
    ),
];

/// The record of a session whose data is this.
pub fn record_of(id: &str, data: &str, now_s: u64) -> v1::SessionRecord {
    let keys = keys(data.as_bytes());
    let text = |key: &str| keys.get(key).cloned().unwrap_or_default();
    // Every forum whose password was given, and the last one by itself. `true` is a visit of an open forum.
    let lists = format!("{},{}", text("access-layers-granted"), text("access-layer-granted"));
    let forums = lists.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|forum| forum.parse().ok());
    let mut forums_granted: Vec<u32> = forums.collect();
    forums_granted.sort_unstable();
    forums_granted.dedup();
    v1::SessionRecord {
        id: id.to_owned(),
        version: 0,
        user_id: text("logged-user").parse().unwrap_or(0),
        created_at_s: now_s,
        updated_at_s: now_s,
        name: text("temp-user-name"),
        latitude: text("lat"),
        longitude: text("lon"),
        email: text("logged-email"),
        forums_granted,
    }
}

/// Whether the session has done more than read: it has a name, an email or a password. Here no other one is kept.
pub fn has_written(session: &v1::SessionRecord) -> bool {
    !(session.name.is_empty() && session.email.is_empty() && session.forums_granted.is_empty())
}

/// What there is to compare. A place that was never given is the default one in PHP's sessions, and none here.
pub fn content(session: Option<&v1::SessionRecord>) -> v1::SessionRecord {
    let Some(session) = session else { return v1::SessionRecord::default() };
    let place = |text: &str, default: &str| if text == default { String::new() } else { text.to_owned() };
    v1::SessionRecord {
        user_id: session.user_id,
        name: session.name.clone(),
        latitude: place(&session.latitude, "51"),
        longitude: place(&session.longitude, "0"),
        email: session.email.clone(),
        forums_granted: session.forums_granted.clone(),
        ..Default::default()
    }
}

/// Keys and values of session data, types left out.
fn keys(data: &[u8]) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut rest = data;
    while let Some(bar) = rest.iter().position(|b| *b == b'|') {
        let key = String::from_utf8(rest[..bar].to_vec()).unwrap();
        rest = &rest[bar + 1..];
        let semicolon = rest.windows(2).position(|pair| pair == b"\";").map(|at| at + 1);
        let end = if rest[0] == b's' { semicolon } else { rest.iter().position(|b| *b == b';') };
        let end = end.unwrap();
        let value = String::from_utf8(rest[..end].to_vec()).unwrap();
        let value = value.splitn(if rest[0] == b's' { 3 } else { 2 }, ':').last().unwrap();
        // One quote at each end; those inside belong to it.
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        keys.insert(key, value.to_owned());
        rest = &rest[end + 1..];
    }
    keys
}
