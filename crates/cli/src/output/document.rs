//! Objects as YAML or JSON documents, the way kubectl prints them.

use serde_json::Value;

use crate::failure::{Explain as _, Result};

/// `-o` of the commands that print objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table with more columns
    Wide,
    /// YAML documents
    Yaml,
    /// JSON
    Json,
    /// `kind.group/name` only
    Name,
}

/// The subset of formats that hold whole documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum DocumentFormat {
    /// YAML documents
    #[default]
    Yaml,
    /// JSON
    Json,
}

/// One object or list as text without a trailing line end. Field ownership is left out, as kubectl does.
pub(crate) fn render(object: &Value, format: DocumentFormat) -> Result<String> {
    let mut object = object.clone();
    hide_managed_fields(&mut object);
    let text = match format {
        DocumentFormat::Json => serde_json::to_string_pretty(&object).context("cannot print JSON")?,
        DocumentFormat::Yaml => yaml(&object)?,
    };
    Ok(text.trim_end().to_owned())
}

/// YAML with every string on one line unless it has line ends of its own: people search and copy it.
fn yaml(object: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, object, options).context("cannot print YAML")?;
    Ok(text)
}

fn hide_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(hide_managed_fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_ownership_is_not_shown() {
        let object = serde_json::json!({
            "items": [{"metadata": {"name": "a", "managedFields": [{"manager": "x"}]}, "spec": {"commit": "0123", "url": "https://git.example/a/very/long/path/that/would/not/fit/into/eighty/columns/at/all.git"}}]
        });
        insta::assert_snapshot!(render(&object, DocumentFormat::Yaml).expect("prints"), @r#"
        items:
        - metadata:
            name: a
          spec:
            commit: "0123"
            url: https://git.example/a/very/long/path/that/would/not/fit/into/eighty/columns/at/all.git
        "#);
    }
}
