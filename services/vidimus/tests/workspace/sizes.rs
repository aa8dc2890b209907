//! The size limits: no file over 500 lines, no function over 70. Prints the rest: the median function, the longest
//! files, the share of documented public items.

use anyhow::Context as _;
use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use crate::tree::{self, TextFile};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// What was seen in Rust files.
#[derive(Default)]
struct Seen {
    /// The file that is being read.
    path: String,
    /// Whether what is being read is a test.
    in_tests: bool,
    /// (lines, `path:line name`) of every function.
    functions: Vec<(usize, String)>,
    /// Lines of every function outside tests.
    production_lines: Vec<usize>,
    public_items: usize,
    documented_items: usize,
}

impl Seen {
    /// From the signature's first line to the closing brace.
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.span().start().line;
        let lines = body.span().end().line + 1 - first;
        self.functions.push((lines, format!("{}:{first} {}", self.path, signature.ident)));
        if !self.in_tests {
            self.production_lines.push(lines);
        }
    }

    fn item(&mut self, visibility: &syn::Visibility, attributes: &[syn::Attribute]) {
        if self.in_tests || !matches!(visibility, syn::Visibility::Public(_)) {
            return;
        }
        self.public_items += 1;
        self.documented_items +=
            usize::from(attributes.iter().any(|attribute| attribute.path().is_ident("doc")));
    }

    fn read(&mut self, file: &TextFile) -> anyhow::Result<()> {
        self.path = file.path.display().to_string();
        self.in_tests = file.path.components().any(|part| part.as_os_str() == "tests")
            || file
                .path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| stem.ends_with("tests"));
        let parsed = syn::parse_file(&file.text).with_context(|| format!("read {}", self.path))?;
        self.visit_file(&parsed);
        Ok(())
    }

    fn median_production_lines(&self) -> usize {
        let mut lines = self.production_lines.clone();
        lines.sort_unstable();
        lines.get(lines.len() / 2).copied().unwrap_or_default()
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let configured = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"));
        configured || attribute.path().segments.last().is_some_and(|last| last.ident == "test")
    })
}

impl<'ast> Visit<'ast> for Seen {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let outside = self.in_tests;
        self.in_tests |= is_for_tests(&module.attrs);
        visit::visit_item_mod(self, module);
        self.in_tests = outside;
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let outside = self.in_tests;
        self.in_tests |= is_for_tests(&function.attrs);
        self.function(&function.sig, &function.block);
        self.item(&function.vis, &function.attrs);
        visit::visit_item_fn(self, function);
        self.in_tests = outside;
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        self.item(&function.vis, &function.attrs);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig, body);
        }
        self.item(&syn::Visibility::Public(syn::token::Pub(Span::call_site())), &function.attrs);
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.item(&item.vis, &item.attrs);
        item.fields.iter().for_each(|field| self.item(&field.vis, &field.attrs));
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.item(&item.vis, &item.attrs);
        item.variants.iter().for_each(|variant| self.item(&item.vis, &variant.attrs));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.item(&item.vis, &item.attrs);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.item(&item.vis, &item.attrs);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.item(&item.vis, &item.attrs);
    }
}

fn has_extension(file: &TextFile, wanted: &[&str]) -> bool {
    file.path
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|found| wanted.contains(&found))
}

fn read_rust(files: &[TextFile]) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    for file in files.iter().filter(|file| has_extension(file, &["rs"])) {
        seen.read(file)?;
    }
    Ok(seen)
}

#[test]
fn no_file_is_over_500_lines() -> anyhow::Result<()> {
    let files = tree::text_files()?;
    let sources = files.iter().filter(|file| has_extension(file, &["rs", "py", "sh"]));
    let mut lengths =
        sources.map(|file| (file.text.lines().count(), file.path.display())).collect::<Vec<_>>();
    lengths.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
    println!("longest files:");
    for (lines, path) in lengths.iter().take(10) {
        println!("{lines:>5} {path}");
    }
    let over = lengths.iter().filter(|(lines, _)| *lines > FILE_LINES_MAX).collect::<Vec<_>>();
    assert!(over.is_empty(), "files over {FILE_LINES_MAX} lines: {over:?}");
    assert!(lengths.len() > 50, "the files were not found");
    Ok(())
}

#[test]
fn no_function_is_over_70_lines() -> anyhow::Result<()> {
    let mut seen = read_rust(&tree::text_files()?)?;
    let over = seen.functions.iter().filter(|(lines, _)| *lines > FUNCTION_LINES_MAX).collect::<Vec<_>>();
    assert!(over.is_empty(), "functions over {FUNCTION_LINES_MAX} lines: {over:#?}");
    seen.functions.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
    println!("longest functions:");
    for (lines, name) in seen.functions.iter().take(10) {
        println!("{lines:>5} {name}");
    }
    println!(
        "functions outside tests: {}, median {} lines",
        seen.production_lines.len(),
        seen.median_production_lines()
    );
    let percent = 100.0 * seen.documented_items as f64 / seen.public_items.max(1) as f64;
    println!("public items: {}, documented {percent:.1} %", seen.public_items);
    Ok(())
}

#[test]
fn functions_are_measured_from_signature_to_brace() -> anyhow::Result<()> {
    let text = "/// Says.\npub fn long(\n    a: u8,\n) {\n    drop(a);\n}\n#[cfg(test)]\nmod tests {\n    fn short() {}\n}\n";
    let mut seen = Seen::default();
    seen.read(&TextFile { path: "src/a.rs".into(), text: text.to_owned() })?;
    assert_eq!(seen.functions, [(5, "src/a.rs:2 long".to_owned()), (1, "src/a.rs:9 short".to_owned())]);
    assert_eq!((seen.production_lines, seen.public_items, seen.documented_items), (vec![5], 1, 1));
    Ok(())
}
