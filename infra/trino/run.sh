#!/usr/bin/env bash
# Starts a real Trino on loopback, without containers, and runs the tests that
# compare it with DuckDB: the same hunts over the same lakes, equal rows.
#
#   infra/trino/run.sh [flags of go test]
#   infra/trino/run.sh --check    says what is missing on this machine, if anything is
#   infra/trino/run.sh --fetch    only fetches what it needs
#
# It needs a JDK 25 (TRINO_JAVA_HOME, JAVA_HOME, or one under /usr/lib/jvm) and
# Maven, which fetches Trino's jars from Maven Central once, about 155 MB. All of
# it stays below .cache/trino. Trino listens on 127.0.0.1 only.
#
#   TRINO_PORT  port (default 18080)    TRINO_HEAP  heap of the server (default 1G)
set -euo pipefail
cd "$(dirname "$0")/../.."

version=483
port=${TRINO_PORT:-18080}
heap=${TRINO_HEAP:-1G}
work=$PWD/.cache/trino

# Prints the home of a JDK of version 25 or newer, or nothing.
find_jdk() {
  local home release
  for home in "${TRINO_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/*; do
    [ -n "$home" ] && [ -x "$home/bin/javac" ] || continue
    release=$("$home/bin/javac" -version 2>&1 | sed -nE 's/^javac ([0-9]+).*/\1/p')
    [ "${release:-0}" -ge 25 ] && { echo "$home"; return; }
  done
  return 0
}

missing=()
jdk=$(find_jdk)
[ -n "$jdk" ] || missing+=("a JDK of version 25 or newer: set TRINO_JAVA_HOME to it")
command -v mvn > /dev/null || missing+=("Maven: the command mvn")
command -v go > /dev/null || missing+=("Go")
if [ ${#missing[@]} -gt 0 ]; then
  echo "make trino needs what is not here:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 1
fi
[ "${1:-}" != --check ] || exit 0

rm -rf "$work"/{data,var,tmp}
mkdir -p "$work"/{etc/catalog,plugin/hive,classes,data,var,tmp}

if [ ! -e "$work/lib/.done-$version" ]; then
  echo "fetching Trino $version"
  rm -rf "$work/lib"
  JAVA_HOME=$jdk mvn -q -B -f infra/trino/pom.xml -Dtrino.version=$version -Dmaven.repo.local="$work/m2" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$work/lib"
  rm -rf "$work/m2"
  touch "$work/lib/.done-$version"
fi
[ "${1:-}" != --fetch ] || exit 0

if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
  echo "make trino: port $port is taken; set TRINO_PORT to another" >&2
  exit 1
fi

# The launcher of the server's archive is not in Maven Central; this is what it
# starts. The plugin folder holds links to the same jars and the entry that the
# plugin's archive would have.
cat > "$work/Main.java" << JAVA
public class Main {
    public static void main(String[] arguments) { new io.trino.server.Server().start("$version"); }
}
JAVA
"$jdk/bin/javac" -cp "$work/lib/*" -d "$work/classes" "$work/Main.java"
rm -f "$work/plugin/hive"/*
ln -s "$work"/lib/*.jar "$work/plugin/hive/"
mkdir -p "$work/services/META-INF/services"
echo io.trino.plugin.hive.HivePlugin > "$work/services/META-INF/services/io.trino.spi.Plugin"
"$jdk/bin/jar" --create --file "$work/plugin/hive/services.jar" -C "$work/services" META-INF

# Without http-server.http.address… the server would listen on all addresses.
cat > "$work/etc/config.properties" << PROPERTIES
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=$port
node.internal-address=127.0.0.1
node.bind-ip=127.0.0.1
discovery.uri=http://127.0.0.1:$port
web-ui.enabled=false
PROPERTIES
cat > "$work/etc/catalog/lake.properties" << PROPERTIES
connector.name=hive
hive.metastore=file
hive.metastore.catalog.dir=local:///metastore
fs.local.enabled=true
local.location=$work/data
PROPERTIES

# It writes some of its logs below the folder that it is started in.
(
  cd "$work"
  TZ=UTC exec "$jdk/bin/java" -Xmx"$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError \
    -Duser.timezone=UTC -Djava.io.tmpdir="$work/tmp" \
    -Djdk.attach.allowAttachSelf=true --add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED \
    --sun-misc-unsafe-memory-access=allow \
    -Dnode.environment=lane -Dnode.id=lane-1 -Dnode.data-dir="$work/var" -Dplugin.dir="$work/plugin" \
    -Dconfig="$work/etc/config.properties" -Dcatalog.config-dir="$work/etc/catalog" \
    -cp "$work/classes:$work/lib/*" Main > "$work/server.log" 2>&1
) &
server=$!
trap 'kill $server 2> /dev/null || true; wait $server 2> /dev/null || true' EXIT

echo "starting Trino $version on 127.0.0.1:$port (log: .cache/trino/server.log)"
export KEYTRAIL_TRINO_SERVER=http://127.0.0.1:$port KEYTRAIL_TRINO_DATA=$work/data
go test -tags trino -count=1 -timeout 40m -run 'TestTrino' "$@" ./analyzer/hunt/
