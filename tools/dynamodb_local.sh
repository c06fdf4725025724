#!/usr/bin/env bash
# Fetches DynamoDB Local, once, and prints the directory that its jars lie in; a second call only prints it.
#
#   tools/dynamodb_local.sh
#
# It comes from Maven Central (https://central.sonatype.com/artifact/com.amazonaws/DynamoDBLocal), by Maven, and needs
# Java 17 to run. Nothing is installed. Exit code 69 says that something is missing here, and standard error what.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly version=2.6.1 plugin=3.8.1 java_needed=17
readonly home=$PWD/.cache/dynamodb-local-$version
readonly instead="Or start DynamoDB Local elsewhere and name it: DYNAMODB_TEST_ENDPOINT=http://127.0.0.1:8000"

lacks() {
  printf 'DynamoDB Local cannot run here: %s\n%s\n' "$1" "$instead" >&2
  exit 69
}

need_java() {
  command -v java >/dev/null || lacks "there is no java (Debian: apt-get install default-jre-headless)."
  local said
  said=$(java -version 2>&1) || lacks "java does not start: $said"
  # 'openjdk version "17.0.15"'; before 9 it was "1.8.0".
  if ! [[ $said =~ version\ \"([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt "$java_needed" ]; then
    lacks "it needs Java $java_needed or later, and this is: ${said%%$'\n'*}"
  fi
}

# Under another name until it is whole: a fetch that was cut short must not pass for one.
fetch() {
  command -v mvn >/dev/null || lacks "there is no mvn to fetch it with (Debian: apt-get install maven)."
  local half
  mkdir -p "${home%/*}"
  half=$(mktemp -d "$home.XXXXXX")
  trap "rm -rf '$half'" EXIT
  cat >"$half/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>mailculator</groupId><artifactId>dynamodb-local</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>com.amazonaws</groupId><artifactId>DynamoDBLocal</artifactId><version>$version</version>
  </dependency></dependencies>
</project>
POM
  printf 'mailculator: fetching DynamoDB Local %s from Maven Central\n' "$version" >&2
  mvn --batch-mode --quiet --strict-checksums --file "$half/pom.xml" \
    "org.apache.maven.plugins:maven-dependency-plugin:$plugin:copy-dependencies" \
    -DincludeScope=runtime -DoutputDirectory="$half/lib" >&2 ||
    lacks "Maven could not fetch it (see above; it needs the network, or a mirror in ~/.m2/settings.xml)."
  # Another run may have been faster.
  mv -T "$half" "$home" 2>/dev/null || [ -d "$home/lib" ]
}

need_java
[ -d "$home/lib" ] || fetch
echo "$home/lib"
