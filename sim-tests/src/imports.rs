//! Which files of a crate use which others, by the paths in their code: `use` declarations and paths written out.
//!
//! Owns how a path leads to the file in which a name is defined, through re-exports. Names that no path leads to (methods, what a
//! macro makes) are not seen. `mod x;` is no use of the file `x.rs`, and neither is a re-export by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use crate::source::Source;

/// Where a module is, from the crate's root.
type Module = Vec<String>;

/// How many re-exports a name may come through.
const HOPS_MAX: usize = 16;

/// One `use` of one name.
#[derive(Debug)]
struct Import {
    /// It is also for others: `pub use`.
    is_shared: bool,
    path: Vec<String>,
    /// The name it has here.
    name: String,
}

/// One file.
#[derive(Debug)]
struct Node {
    file: PathBuf,
    children: BTreeSet<String>,
    imports: Vec<Import>,
    /// What ships, without its `use` declarations.
    code: String,
}

/// The files of one crate that ship.
#[derive(Debug, Default)]
pub struct Imports(BTreeMap<Module, Node>);

impl Imports {
    /// Reads the crate whose root is `root`, a `lib.rs`.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut crate_ = Self::default();
        crate_.add(root, Vec::new())?;
        Ok(crate_)
    }

    fn add(&mut self, file: &Path, module: Module) -> io::Result<()> {
        let source = Source::read(file)?;
        let node = Node::new(&source);
        for child in node.children.clone() {
            let places = source.module_places(&child);
            let Some(place) = places.iter().find(|place| place.is_file()) else { continue };
            self.add(place, [module.as_slice(), &[child]].concat())?;
        }
        self.0.insert(module, node);
        Ok(())
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The groups of files that use one another in a circle, each file with those of its group that it uses and the path by which
    /// it does.
    pub fn circles(&self) -> Vec<BTreeMap<&Path, Vec<(&Path, String)>>> {
        let uses: BTreeMap<&Module, BTreeMap<Module, String>> =
            self.0.keys().map(|module| (module, self.uses_of(module))).collect();
        let reach: BTreeMap<&Module, BTreeSet<&Module>> =
            uses.keys().map(|module| (*module, reachable(&uses, module))).collect();
        let mut seen: BTreeSet<&Module> = BTreeSet::new();
        let mut circles = Vec::new();
        for module in uses.keys().copied() {
            let both_ways =
                |other: &&Module| reach[module].contains(*other) && reach[*other].contains(module);
            let group: BTreeSet<&Module> = uses.keys().copied().filter(both_ways).collect();
            if group.is_empty() || !seen.insert(module) {
                continue;
            }
            seen.extend(&group);
            let file = |module: &Module| self.0[module].file.as_path();
            let within = |module: &Module| {
                let found = uses[module].iter().filter(|(to, _)| group.contains(to));
                found.map(|(to, by)| (file(to), by.clone())).collect()
            };
            circles.push(group.iter().map(|module| (file(module), within(module))).collect());
        }
        circles
    }

    /// Every use of a file by another, with the paths by which it is used.
    pub fn all(&self) -> Vec<(&Path, &Path, String)> {
        let of = |module: &Module| self.uses_of(module).into_iter();
        let file = |module: &Module| self.0[module].file.as_path();
        let each = self.0.keys().flat_map(|from| of(from).map(move |(to, by)| (file(from), file(&to), by)));
        each.collect()
    }

    /// The other files a file uses, each with a path by which it does.
    fn uses_of(&self, module: &Module) -> BTreeMap<Module, String> {
        let node = &self.0[module];
        let mut found = BTreeMap::new();
        let words: BTreeSet<&str> = crate::source::words(&node.code).map(|(_, word)| word).collect();
        let imports =
            node.imports.iter().filter(|import| !import.is_shared || words.contains(import.name.as_str()));
        let written_out = paths(&node.code).filter(|path| node.leads_inside(path));
        for path in imports.map(|import| import.path.clone()).chain(written_out) {
            if let Some(to) = self.resolve(module, &path, 0).filter(|to| to != module) {
                found.entry(to).or_insert_with(|| path.join("::"));
            }
        }
        found
    }

    /// The module in which what a path names is defined; `None`: not in this crate.
    fn resolve(&self, from: &Module, path: &[String], hops: usize) -> Option<Module> {
        if hops > HOPS_MAX {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let node = self.0.get(from)?;
        match first.as_str() {
            "crate" => self.descend(Vec::new(), rest, hops),
            "self" => self.descend(from.clone(), rest, hops),
            "super" => self.descend(parent(from)?, rest, hops),
            name if node.children.contains(name) => self.descend(from.clone(), path, hops),
            name => {
                let import =
                    node.imports.iter().find(|import| import.name == name && import.path[0] != name)?;
                self.resolve(from, &[import.path.as_slice(), rest].concat(), hops + 1)
            }
        }
    }

    fn descend(&self, module: Module, path: &[String], hops: usize) -> Option<Module> {
        let Some((first, rest)) = path.split_first() else { return Some(module) };
        let node = self.0.get(&module)?;
        if first == "super" {
            return self.descend(parent(&module)?, rest, hops);
        }
        if node.children.contains(first) {
            return self.descend([module.as_slice(), std::slice::from_ref(first)].concat(), rest, hops);
        }
        match node.imports.iter().find(|import| import.name == *first) {
            Some(import) => self.resolve(&module, &[import.path.as_slice(), rest].concat(), hops + 1),
            None => Some(module),
        }
    }
}

impl Node {
    fn new(source: &Source) -> Self {
        let mut code = source.shipped_code();
        let children = declared_modules(&code);
        let mut imports = Vec::new();
        while let Some((start, end)) = next_use(&code) {
            let before = code[..start].trim_end();
            let is_limited =
                before.rsplit_once("pub(").is_some_and(|(_, rest)| rest.find(')') == Some(rest.len() - 1));
            let is_shared = before.ends_with("pub") || is_limited;
            let tree = code[start + "use".len()..end].to_owned();
            leaves(&tree, &[], &mut |path, name| imports.push(Import { is_shared, path, name }));
            code.replace_range(
                start..(end + 1).min(code.len()),
                &" ".repeat((end + 1).min(code.len()) - start),
            );
        }
        Self { file: source.path.clone(), children, imports, code }
    }

    /// Whether a path that is written out begins in this crate.
    fn leads_inside(&self, path: &[String]) -> bool {
        matches!(path[0].as_str(), "crate" | "self" | "super") || self.children.contains(&path[0])
    }
}

fn parent(module: &Module) -> Option<Module> {
    module.split_last().map(|(_, parent)| parent.to_vec())
}

fn reachable<'a>(
    uses: &'a BTreeMap<&Module, BTreeMap<Module, String>>,
    from: &Module,
) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut due: Vec<&Module> = uses[from].keys().collect();
    while let Some(module) = due.pop() {
        if found.insert(module) {
            due.extend(uses[module].keys());
        }
    }
    found
}

/// Modules declared with a `;`: they are files.
fn declared_modules(code: &str) -> BTreeSet<String> {
    let declared = code.split(';').filter_map(|item| {
        let (before, name) = item.rsplit_once("mod ")?;
        let is_word =
            before.is_empty() || before.ends_with(char::is_whitespace) || before.ends_with(['}', ']']);
        let name = name.trim();
        (is_word && !name.is_empty() && name.chars().all(is_of_name)).then(|| name.to_owned())
    });
    declared.collect()
}

/// Where the next `use` declaration stands, and its `;`.
fn next_use(code: &str) -> Option<(usize, usize)> {
    let starts = code.match_indices("use ").map(|(at, _)| at);
    let is_item = |at: &usize| {
        let before = code[..*at].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with(['\n', ';', '{', '}', ']', ')']) || before.ends_with("pub")
    };
    let start = starts.into_iter().find(is_item)?;
    Some((start, code[start..].find(';').map_or(code.len(), |at| start + at)))
}

/// Every name a tree of a `use` brings, with its whole path. A glob is a name `*`, with the path of its module.
fn leaves(tree: &str, before: &[String], tell: &mut impl FnMut(Vec<String>, String)) {
    for part in at_top(tree) {
        let (head, inner) = part.split_once('{').map_or((part, None), |(head, inner)| (head, Some(inner)));
        let (head, renamed) = head.split_once(" as ").map_or((head, None), |(head, name)| (head, Some(name)));
        let segments = head.split("::").map(str::trim).filter(|segment| !segment.is_empty());
        let mut path: Vec<String> = before.iter().cloned().chain(segments.map(str::to_owned)).collect();
        if let Some(inner) = inner {
            leaves(inner.trim_end().strip_suffix('}').unwrap_or(inner), &path, tell);
            continue;
        }
        let is_module_itself = path.len() > 1 && path.last().is_some_and(|last| last == "self");
        if is_module_itself || path.last().is_some_and(|last| last == "*") {
            let last = path.pop().unwrap_or_default();
            let name = if last == "*" { Some(last) } else { path.last().cloned() };
            tell(path, renamed.map(|name| name.trim().to_owned()).or(name).unwrap_or_default());
        } else if let Some(last) = path.last().cloned() {
            tell(path, renamed.map_or(last, |name| name.trim().to_owned()));
        }
    }
}

/// The parts between commas that stand in no braces.
fn at_top(tree: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(tree[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(tree[from..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Paths of at least two names in code; those of a visibility (`pub(in …)`) name no item.
fn paths(code: &str) -> impl Iterator<Item = Vec<String>> {
    let is_of_path = |c: char| is_of_name(c) || c == ':';
    let mut at = 0;
    let pieces = std::iter::from_fn(move || {
        let start = at + code[at..].find(is_of_path)?;
        let end = start + code[start..].find(|c| !is_of_path(c)).unwrap_or(code.len() - start);
        at = end;
        Some((start, &code[start..end]))
    });
    pieces.filter_map(|(start, piece)| {
        let path: Vec<String> = piece.trim_end_matches(':').split("::").map(str::to_owned).collect();
        let is_visibility = code[..start].trim_end().ends_with("(in");
        let is_whole = path.iter().all(|name| !name.is_empty() && name.chars().all(is_of_name));
        (path.len() > 1 && is_whole && !is_visibility).then_some(path)
    })
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Writes files and says which of them stand in circles.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let imports = Imports::read(&folder.path().join("lib.rs")).unwrap();
        assert_eq!(imports.len(), files.len(), "every file is found");
        let name = |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string();
        imports.circles().iter().map(|circle| circle.keys().map(|path| name(path)).collect()).collect()
    }

    const ROOT: (&str, &str) = ("lib.rs", "pub mod a;\nmod b;\npub use a::A;\n");

    #[test]
    fn files_that_use_one_another_are_a_circle_however_they_say_it() {
        for (a, b) in [
            ("use crate::b::B;\npub struct A;", "use super::a::A;\npub struct B;"),
            ("use crate::b::{self};\npub struct A;", "use crate::{a::{A}};"),
            ("pub struct A;\nfn f() { crate::b::g() }", "pub fn g() -> super::a::A { todo!() }"),
            ("use super::b as other;\npub struct A;", "use crate::A;"),
            ("pub use crate::b::B;\npub struct A(B);", "use crate::a::*;"),
        ] {
            assert_eq!(circles(&[ROOT, ("a.rs", a), ("b.rs", b)]), [["a.rs", "b.rs"]], "{a}\n{b}");
        }
    }

    #[test]
    fn declaring_and_handing_on_children_is_no_use_but_their_parents_items_are_one() {
        let child = "use super::helper;\npub struct C;";
        let hands_on = ("a/mod.rs", "mod c;\npub use c::C;\npub fn helper() {}\npub struct A;");
        assert!(circles(&[ROOT, hands_on, ("a/c.rs", child), ("b.rs", "")]).is_empty());
        for uses in ["fn f() { c::g() }", "use c::g;", "fn f(c: C) {}", "fn f() { self::c::g() }"] {
            let parent = format!("mod c;\npub use c::C;\npub fn helper() {{}}\npub struct A;\n{uses}");
            let found = circles(&[ROOT, ("a/mod.rs", &parent), ("a/c.rs", child), ("b.rs", "")]);
            assert_eq!(found, [["a/c.rs", "a/mod.rs"]], "{uses}");
        }
    }

    #[test]
    fn a_name_that_is_handed_on_is_a_use_of_the_file_that_defines_it() {
        let a = "mod c;\nmod d;\nuse c::C;\nuse d::D;\npub struct A(C, D);";
        // `C` comes through the parent, which uses both; it is defined in `c.rs`.
        let found = circles(&[
            ROOT,
            ("a.rs", a),
            ("a/c.rs", "pub struct C;"),
            ("a/d.rs", "use super::C;\npub struct D;"),
            ("b.rs", ""),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn tests_comments_and_visibilities_are_no_uses() {
        let a = "use crate::b::B;\npub struct A;";
        let b = "// crate::a::A\npub(in crate::a) struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n";
        assert!(circles(&[ROOT, ("a.rs", a), ("b.rs", b)]).is_empty());
    }

    #[test]
    fn three_files_in_a_ring_are_one_circle() {
        let ring = [
            ("a.rs", "use crate::b::B;\npub struct A;"),
            ("b.rs", "mod c;\nuse crate::b::c::C;\npub struct B;"),
            ("b/c.rs", "use crate::a::A;\npub struct C;"),
        ];
        let all = [&[ROOT][..], &ring].concat();
        assert_eq!(circles(&all), [["a.rs", "b/c.rs", "b.rs"]]);
    }
}
