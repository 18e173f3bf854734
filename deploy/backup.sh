#!/usr/bin/env bash
# Packs the model volume into an archive with checksums: see usage(). deploy/restore.sh restores it.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: backup.sh SOURCE ARCHIVE

Packs the models of SOURCE into ARCHIVE (a .tar file; quantized weights do not compress), with the SHA-256 of each file.

  SOURCE   a folder, or the name of a volume of docker or podman
  ARCHIVE  the file to write; it appears when it is complete and was read back. An existing one is not replaced

Environment:
  ENGINE   docker or podman, where SOURCE is a volume (default: whichever is there)

Half-downloaded files (.NAME.partial-…) are left out. Models never change in place, so the service may go on running.
TEXT
}

fail() { echo "backup.sh: $*" >&2; exit 1; }

# Prints the folder of a volume, for podman and docker.
folder_of() {
    local engine="${ENGINE:-}"
    if [ -d "$1" ]; then echo "$1"; return; fi
    [ -n "$engine" ] || engine="$(command -v podman || command -v docker)" || fail "$1 is no folder, and neither podman nor docker is here"
    "$engine" volume inspect --format '{{.Mountpoint}}' "$1" 2>/dev/null || fail "$1 is neither a folder nor a volume of $engine"
}

main() {
    case "${1:-}" in -h | --help) usage; exit 0 ;; esac
    [ $# -eq 2 ] || { usage >&2; exit 2; }
    local source archive partial
    source="$(folder_of "$1")"
    archive="$2"
    ls "$source" > /dev/null 2>&1 || fail "cannot read $source: run this as root, or as the owner of the volume"
    [ ! -e "$archive" ] || fail "$archive exists: choose another name, or remove it"
    [ -d "$(dirname "$archive")" ] || fail "there is no folder $(dirname "$archive")"

    work="$(mktemp -d "$(dirname "$archive")/.backup-XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    partial="$work/archive.tar"

    (cd "$source" && find . -type f ! -path '*/.*' ! -name SHA256SUMS -print0 | sort -z | xargs -0 -r sha256sum) > "$work/SHA256SUMS"
    [ -s "$work/SHA256SUMS" ] || fail "there is no file in $source"
    # The list comes first in the archive, because a restore reads it first.
    tar --create --file "$partial" --directory "$work" SHA256SUMS
    cut -c67- "$work/SHA256SUMS" | tar --append --file "$partial" --directory "$source" --no-recursion --files-from -

    # Verified as a stream, because models are large.
    # shellcheck disable=SC2016 # the command is for tar's shell
    tar --extract --file "$partial" --exclude SHA256SUMS --to-command='echo "$(sha256sum | cut -c-64)  $TAR_FILENAME"' \
        | cmp --silent - "$work/SHA256SUMS" || fail "what was read back is not what was written: did a file change meanwhile?"
    sync "$partial"
    # ln fails if another process has created the file in the meantime.
    ln "$partial" "$archive" || fail "cannot write $archive"
    echo "backup.sh: $archive holds $(wc -l < "$work/SHA256SUMS") files, $(stat --format %s "$archive") bytes, verified"
}

main "$@"
