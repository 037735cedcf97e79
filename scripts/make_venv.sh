#!/bin/sh
# Makes the virtual environment $1: with the Python that PYTHON names, else with the newest that has all packages.
# Looked at are python3.13 to python3.10 on the PATH and among pyenv's versions, then python3 and python on the PATH.
set -u

venv=$1
named=${PYTHON:-}

# Runs on any Python since 2.6: the version, and after a space what is amiss.
LOOK='
import sys
amiss = ""
if sys.version_info < (3, 10):
    amiss = "too old"
elif sys.version_info >= (3, 14):
    amiss = "too new: TensorFlow has no package for it yet"
elif sys.implementation.name != "cpython" or sys.maxsize < 2**32:
    amiss = "TensorFlow has packages for CPython of 64 bits only"
else:
    import sysconfig
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        amiss = "without the GIL: TensorFlow has no package for it"
    for module in ["ctypes", "ssl", "zlib"] + sys.argv[1:]:
        try:
            __import__(module)
        except ImportError:
            amiss = amiss or "its module %s is missing" % module
print("%d.%d.%d %s" % (sys.version_info[:3] + (amiss,)))
'

if command -v uv >/dev/null 2>&1; then has_uv=yes; modules=; else has_uv=; modules="venv ensurepip"; fi

candidates() {
  for version in 3.13 3.12 3.11 3.10; do
    command -v "python$version"
    # The newest patch first.
    for each in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
      patch=${each%/bin/python}
      [ -x "$each" ] && echo "${patch##*.} $each"
    done | sort -n -r | cut -d " " -f 2-
  done
  command -v python3
  command -v python
}

python=
seen=
if [ -n "$named" ]; then list=$named; else list=$(candidates); fi
while IFS= read -r each; do
  # A name that pyenv has for a version which is not switched on ends with an error.
  # shellcheck disable=SC2086 # none or two words
  found=$("$each" -c "$LOOK" $modules 2>/dev/null) || { [ -n "$named" ] && seen="  $each does not run"; continue; }
  version=${found%% *}
  amiss=${found#* }
  if [ -z "$amiss" ]; then
    python=$each
    break
  fi
  seen="$seen  $each, $version: $amiss
"
done <<END
$list
END

if [ -z "$python" ]; then
  echo "Python 3.10, 3.11, 3.12 or 3.13 is needed. Found:"
  printf '%s\n' "${seen:-  none}" | sed '/^$/d'
  case $seen in
    *"module ensurepip"* | *"module venv"*) echo "Debian, Ubuntu: apt-get install python3-venv (for another than the system's: python3.12-venv)" ;;
  esac
  echo "Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13; any: uv python install 3.13"
  echo "Then the same again; or name one: make PYTHON=/path/to/python3.12 serve"
  exit 1
fi

echo "Python $version ($python)"
had=
[ -e "$venv" ] && had=yes
if { [ -n "$has_uv" ] && uv venv --quiet --seed --allow-existing --python "$python" "$venv" 2>/dev/null; } || "$python" -m venv "$venv"; then
  # What was installed in one that has lost its Python is gone.
  rm -f "$venv/.serve" "$venv/.dev"
  exit 0
fi
[ -n "$had" ] || rm -rf "$venv"
echo "The virtual environment could not be made. Debian, Ubuntu: apt-get install python3-venv"
exit 1
