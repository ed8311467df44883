// Compiles the contracts of src/ and test/ into built/NAME.json: ABI, bytecode, and the compiler and settings that made them.
//
//   node build.mjs           writes built/
//   node build.mjs --check   compares with built/ and fails on any difference
//   node build.mjs --sources DIR --built DIR --warn    takes src/ and test/, or the one of them there is, of another folder,
//                            writes to another one, and passes with warnings
//
// The packages of package-lock.json are looked for below CONTRACT_TOOLS (default: target/tools/contracts of the repository,
// where tests/run installs them).
import { createRequire } from "node:module";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const tools = resolve(process.env.CONTRACT_TOOLS ?? join(here, "../../../target/tools/contracts"));

// What a deployed contract must be reproducible from. No metadata: its hash would change with comments and paths.
const settings = {
  evmVersion: "cancun",
  viaIR: true,
  optimizer: { enabled: true, runs: 1_000_000 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
};

function fail(message) {
  console.error(`build.mjs: ${message}`);
  process.exit(1);
}

function option(name, otherwise) {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : resolve(process.argv[at + 1]);
}

function compiler() {
  try {
    return createRequire(join(tools, "package.json"))("solc");
  } catch (error) {
    fail(`no Solidity compiler below ${tools} (${error.code}): run tests/run, or npm ci there with package.json and its lock`);
  }
}

function compile(folder) {
  const sources = {};
  for (const part of ["src", "test"].filter((part) => existsSync(join(folder, part)))) {
    for (const file of readdirSync(join(folder, part)).filter((name) => name.endsWith(".sol")).sort()) {
      sources[`${part}/${file}`] = { content: readFileSync(join(folder, part, file), "utf8") };
    }
  }
  const input = {
    language: "Solidity",
    sources,
    settings: { ...settings, outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } } },
  };
  const solc = compiler();
  const findImport = (path) => {
    try {
      return { contents: readFileSync(join(tools, "node_modules", path), "utf8") };
    } catch (error) {
      return { error: String(error) };
    }
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  const problems = output.errors ?? [];
  for (const problem of problems) console.error(problem.formattedMessage);
  // Warnings fail too, as nobody reads those of a build that passes; a mutant may have some.
  const fatal = problems.filter((problem) => problem.severity === "error" || !process.argv.includes("--warn"));
  if (fatal.length > 0) process.exit(1);
  const version = solc.version().replace(/\.Emscripten.*/, "");
  const artifacts = new Map();
  for (const path of Object.keys(sources)) {
    for (const [name, contract] of Object.entries(output.contracts[path])) {
      const artifact = {
        contract: name,
        source: path,
        compiler: `solc ${version}`,
        settings,
        abi: contract.abi,
        bytecode: `0x${contract.evm.bytecode.object}`,
      };
      artifacts.set(name, `${JSON.stringify(artifact, null, 1)}\n`);
    }
  }
  return artifacts;
}

const built = option("--built", join(here, "built"));
const artifacts = compile(option("--sources", here));
if (process.argv.includes("--check")) {
  const committed = new Set(readdirSync(built).filter((name) => name.endsWith(".json")));
  for (const [name, text] of artifacts) {
    if (!committed.delete(`${name}.json`)) fail(`built/${name}.json is missing: run node build.mjs`);
    if (readFileSync(join(built, `${name}.json`), "utf8") !== text) {
      fail(`built/${name}.json is not what its source compiles to: run node build.mjs`);
    }
  }
  if (committed.size > 0) fail(`no source makes built/${[...committed].join(", ")}: remove it`);
} else {
  mkdirSync(built, { recursive: true });
  for (const [name, text] of artifacts) writeFileSync(join(built, `${name}.json`), text);
}
for (const [name, text] of artifacts) console.log(`${name}: ${(JSON.parse(text).bytecode.length - 2) / 2} bytes`);
