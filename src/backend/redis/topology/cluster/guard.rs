//! Keeps scripts from doing anything on a server that is no node of a Cluster.

use redis::{Arg, Cmd};

/// Ends a script before it does anything on a server that is no node of a Cluster. ASKING means something only to the
/// next request of the script, which has none of another node; a user who may not say it is not told from one who may.
const GUARD: &str = "local node = redis.pcall('ASKING')
if node.err and string.find(node.err, 'cluster support disabled', 1, true) then
return node
end
";

/// `request` for a server of which it is not known yet whether it is a node of a Cluster.
pub(super) fn guarded(request: &Cmd) -> Cmd {
    let mut args = request.args_iter().filter_map(|arg| match arg {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    match (args.next(), args.next()) {
        (Some(b"EVAL"), Some(script)) => {
            let mut guarded = redis::cmd("EVAL");
            guarded.arg([GUARD.as_bytes(), script].concat());
            args.for_each(|arg| {
                guarded.arg(arg);
            });
            guarded
        }
        _ => request.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_script_changes_and_nothing_that_is_no_script() {
        let mut request = redis::cmd("EVAL");
        request.arg("return 1\n").arg(1).arg("dlock:job").arg("a word");
        let mut expected = redis::cmd("EVAL");
        expected.arg(format!("{GUARD}return 1\n")).arg(1).arg("dlock:job").arg("a word");
        assert_eq!(guarded(&request).get_packed_command(), expected.get_packed_command());
        let mut other = redis::cmd("SCAN");
        other.arg("0");
        assert_eq!(guarded(&other).get_packed_command(), other.get_packed_command());
    }
}
