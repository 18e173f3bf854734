#!/usr/bin/env bash
# Restores an archive of deploy/backup.sh: see usage().
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: restore.sh [--replace] ARCHIVE TARGET

Unpacks the models of ARCHIVE (made by backup.sh) into TARGET. First everything is unpacked beside the files that are there,
and compared with the archive's checksums; only then it is moved in, file by file, each by a rename.

  ARCHIVE    what backup.sh wrote
  TARGET     a folder, or the name of a volume of docker or podman (made if it is not there)
  --replace  replace files that are there and differ. Without it such a file is an error, and nothing is changed.
             Files that ARCHIVE does not have stay in either case

Environment:
  ENGINE     docker or podman, where TARGET is a volume (default: whichever is there)
TEXT
}

fail() { echo "restore.sh: $*" >&2; exit 1; }

folder_of() {
    local engine="${ENGINE:-}"
    if [ -d "$1" ]; then echo "$1"; return; fi
    case "$1" in */*) fail "there is no folder $1" ;; esac
    [ -n "$engine" ] || engine="$(command -v podman || command -v docker)" || fail "$1 is no folder, and neither podman nor docker is here"
    "$engine" volume inspect "$1" > /dev/null 2>&1 || "$engine" volume create "$1" > /dev/null || fail "cannot make the volume $1"
    "$engine" volume inspect --format '{{.Mountpoint}}' "$1"
}

# Checks that each entry of the archive is a regular file of its list, and that each file of the list is there with the right
# checksum.
verify() {
    local read="$1" listed found
    [ -s "$read/SHA256SUMS" ] || fail "the archive has no SHA256SUMS: backup.sh did not make it"
    [ -z "$(find "$read" ! -type f ! -type d -print -quit)" ] || fail "the archive holds something that is not a file"
    listed="$(cut -c67- "$read/SHA256SUMS" | sort)"
    found="$(cd "$read" && find . -type f ! -path ./SHA256SUMS | sort)"
    [ "$listed" = "$found" ] || fail "the archive does not hold what its list says"
    (cd "$read" && sha256sum --quiet --strict --check SHA256SUMS) || fail "the archive is damaged: nothing was changed"
}

main() {
    local replace="" target archive file
    case "${1:-}" in -h | --help) usage; exit 0 ;; --replace) replace=yes; shift ;; esac
    [ $# -eq 2 ] || { usage >&2; exit 2; }
    archive="$1"
    [ -r "$archive" ] || fail "cannot read $archive"
    target="$(folder_of "$2")"
    [ -w "$target" ] || fail "cannot write to $target: run this as root, or as the owner of the volume"

    work="$(mktemp -d "$target/.restore-XXXXXX")" # on the volume, so that a move is a rename
    trap 'rm -rf "$work"' EXIT
    tar --extract --file "$archive" --directory "$work" --no-same-owner || fail "cannot unpack $archive: nothing was changed"
    verify "$work"

    cut -c67- "$work/SHA256SUMS" > "$work/.files"
    while IFS= read -r file; do
        if [ -z "$replace" ] && [ -e "$target/$file" ] && ! cmp --silent "$work/$file" "$target/$file"; then
            fail "$target/$file is there and differs: --replace replaces it. Nothing was changed"
        fi
    done < "$work/.files"
    sync "$work"
    while IFS= read -r file; do
        mkdir -p "$target/$(dirname "$file")"
        # The service runs as another user than this script.
        chown --reference="$target" "$work/$file" 2> /dev/null || true
        chmod a+r "$work/$file"
        mv --force "$work/$file" "$target/$file"
    done < "$work/.files"
    echo "restore.sh: $target has $(wc -l < "$work/.files") files of $archive, verified"
}

main "$@"
