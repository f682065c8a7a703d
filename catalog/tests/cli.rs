//! Goal: the command line keeps its word on exit status and output, without a log. Method: the real
//! binary.

#[cfg(test)]
mod cli {
    use std::{
        path::Path,
        process::{Command, Output},
    };

    fn catalog(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_catalog"));
        // Port 9 is nobody's: what needs no store must not ask for one.
        command.env_clear().env("FLASHSALE_KAFKA_BROKERS", "127.0.0.1:9").args(arguments);
        command.env("FLASHSALE_MYSQL_URL", "mysql://root@127.0.0.1:9");
        command.output().unwrap()
    }

    fn in_file(text: impl AsRef<[u8]>) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file.into_temp_path()
    }

    fn name(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    fn errors(output: &Output) -> String {
        String::from_utf8(output.stderr.clone()).unwrap()
    }

    #[test]
    fn the_example_it_prints_is_a_file_it_takes() {
        let example = catalog(&["example"]);
        assert_eq!(example.status.code(), Some(0));
        let file = in_file(&example.stdout);
        let checked = catalog(&["check", name(&file)]);
        assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
        let told = String::from_utf8(checked.stdout).unwrap();
        assert!(told.contains("sale 1001 is valid by itself: lanes 1, offers 2"), "{told}");
    }

    #[test]
    fn usage_errors_exit_64() {
        for arguments in
            [&["publish"][..], &["sell"], &["show", "0"], &["show", "01"], &["check", "x", "--partitions=0"], &[]]
        {
            assert_eq!(catalog(arguments).status.code(), Some(64), "{arguments:?}");
        }
        assert_eq!(catalog(&["--help"]).status.code(), Some(0));
    }

    #[test]
    fn a_flawed_file_exits_65_with_every_flaw_and_needs_no_log() {
        let flawed = catalog::EXAMPLE.replace("tenant = \"7\"", "tenant = 0").replace("\"CNY\"", "\"yuan\"");
        let file = in_file(flawed);
        for command in ["check", "publish"] {
            let output = catalog(&[command, name(&file)]);
            assert_eq!(output.status.code(), Some(65), "{command}");
            let lines: Vec<String> = errors(&output).lines().map(str::to_owned).collect();
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(lines[0].starts_with(&format!("{}: line 5: tenant: is 0; ", name(&file))), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_sale_file_exits_65_and_says_what_it_is() {
        let latin1 = in_file(b"title = \"caf\xe9\"");
        let large = in_file(vec![b'#'; catalog::file::FILE_BYTES_MAX + 1]);
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            (name(&latin1), "is not UTF-8"),
            (name(&large), "is larger than 4194304 bytes"),
            (name(folder.path()), "is a directory; give a file"),
            ("/no/such/file.toml", "is not there"),
        ];
        for (path, expected) in cases {
            let output = catalog(&["check", path]);
            assert_eq!(output.status.code(), Some(65), "{path}");
            assert!(errors(&output).contains(expected), "{path}: {}", errors(&output));
        }
    }

    #[test]
    fn a_partition_beyond_the_log_is_a_flaw_of_the_file() {
        let file = in_file(catalog::EXAMPLE.replace("# partition = 0", "partition = 3"));
        assert_eq!(catalog(&["check", name(&file)]).status.code(), Some(0));
        let output = catalog(&["check", name(&file), "--partitions=3"]);
        assert_eq!(output.status.code(), Some(65));
        assert!(
            errors(&output).contains("lanes[0].partition: is 3; the order log has 3 partitions"),
            "{}",
            errors(&output)
        );
    }

    #[test]
    fn stores_that_cannot_be_reached_exit_69() {
        let file = in_file(catalog::EXAMPLE);
        for arguments in [&["publish", name(&file)][..], &["show", "1001"]] {
            let output = catalog(arguments);
            assert_eq!(output.status.code(), Some(69));
            assert!(errors(&output).starts_with("nothing was done: "), "{}", errors(&output));
        }
    }
}
