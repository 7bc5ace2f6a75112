//! Commands of jobs that are to be struck, for `sh -c`.

/// A tree that does not want to die: TERM is ignored, one part has its own session, one is an orphan in its own. Says its
/// own pid first.
pub(crate) const STUBBORN: &str = r#"
trap '' TERM
sleep 1000 &
setsid sh -c 'sleep 1001; :' &
(setsid sh -c 'sleep 1002 & sleep 1003' &)
echo $$
echo ready
cat >/dev/null
"#;

/// Looks, as the first thing that it does, for anything that is left of another job, whose mark is its argument.
pub(crate) const LOOK_FOR_ANOTHER_JOB: &str = r#"
for environ in $(grep -lazx "JOB_UNDER_TEST=$1" /proc/[0-9]*/environ 2>/dev/null); do
    name=$(cat "${environ%environ}comm" 2>/dev/null)
    case $name in dlock | lock-keeper | lock-guard | "") ;; *) echo "still there: $name" ;; esac
done
echo ready
cat >/dev/null
"#;
