# frozen_string_literal: true

# Tests this app without a portal, a scheduler or a session, in a second or two:
#
#     ruby tests/test_app.rb
#
# Every template is rendered as the portal does it, with sense and malice in each field of the form, in what a session
# says of itself, and in connection.yml. Nothing of it may become YAML, shell or HTML. A template may refuse a value
# with `raise ArgumentError, "FIELD: what is wrong"`, which the portal shows above the form. Run it after every change
# of the app; it names each fault.

require "cgi"
require "erb"
require "fileutils"
require "json"
require "open3"
require "ostruct"
require "pathname"
require "shellwords"
require "tmpdir"
require "yaml"

APP = Pathname.new(__dir__).parent
WORD = "word"
# Where one of these is not quoted, it makes a file PWNED, an entry of YAML that nobody wrote, or an element of a page.
HOSTILE = [
  "'; : > PWNED #",
  "\"; : > PWNED; \"",
  "$(: > PWNED)",
  "`: > PWNED`",
  "x\n: > PWNED\n",
  "x\n    - evil\n",
  "\"\nevil: \"x",
  "<script>evil</script>",
  "\"><b onclick=\"evil\">",
  "'><b onclick='evil'>",
  "- a: &b [*c, !!evil x]",
  "x: y # z",
  "\\",
  "%>",
  "--option"
].freeze
FAULTS = [] # rubocop:disable Style/MutableConstant

# The portal's links to files.
module OodAppkit
  def self.files
    Class.new { def self.url(path:) "/files#{path}" end }
  end
end

# What the user typed; it answers to the fields of the form alone.
class Context
  def initialize(fields)
    fields.each { |name, value| define_singleton_method(name) { value } }
  end
end

# What view.html.erb is bound to: a connection.yml in which everything has the same value.
class Connection
  def initialize(value, without)
    @value = value
    @without = without
  end

  def respond_to_missing?(_name, _private = false) true end
  def method_missing(name, *) @without.include?(name) ? nil : @value end
  def bound() binding end
end

# What the files of template/ are bound to, and info.html.erb and completed.html.erb.
class Session
  attr_reader :context, :staged_root

  def initialize(root, fields: {}, over: false)
    @staged_root = Pathname.new(root)
    @context = Context.new(fields)
    @over = over
  end

  def session() self end
  def id() "00000000-0000-0000-0000-000000000000" end
  def output_file() staged_root.join("output.log") end
  def queued?() false end
  def starting?() !@over end
  def running?() false end
  def completed?() @over end
  def render_completed_view() nil end
  def bound() binding end
end

def fault(where, text)
  FAULTS << "#{where}: #{text}" unless FAULTS.include?("#{where}: #{text}")
end

def render(name, bound)
  ERB.new(APP.join(name).read, trim_mode: "-").result(bound)
end

# What the block gives; nil where the template refuses the value.
def unless_refused(where)
  yield
rescue ArgumentError
  nil
rescue StandardError, SyntaxError => e
  fault(where, "#{e.class}: #{e.message.lines.first.to_s.strip}")
  nil
end

def yaml(where, field, text)
  YAML.safe_load(text)
rescue Psych::Exception => e
  fault(where, "#{field} leaves no YAML: #{e.message.delete_prefix("(<unknown>): ")}")
  nil
end

# Names and places of what YAML holds, without the values, down to some depth.
def outline(value, depth)
  case value
  when Hash then depth.zero? ? :mapping : value.transform_values { |one| outline(one, depth - 1) }
  when Array then value.map { |one| outline(one, depth) }
  else :text
  end
end

# --- the form ---

FORM = YAML.safe_load(APP.join("form.yml").read)
FIELDS = FORM["form"]
GOOD = FIELDS.to_h do |name|
  told = FORM["attributes"].fetch(name, {})
  told = {} unless told.is_a?(Hash)
  given = told["value"] || Array(told["options"]).map { |option| Array(option).last }.first
  [name, (given || (told["widget"] == "check_box" ? "0" : "")).to_s]
end

def test_the_form
  manifest = YAML.safe_load(APP.join("manifest.yml").read)
  fault("manifest.yml", "role: should be batch_connect") unless manifest["role"] == "batch_connect"
  unknown = FORM["attributes"].keys - FIELDS
  fault("form.yml", "attributes that are not below form: #{unknown.join(", ")}") unless unknown.empty?
end

def submit(field, fields)
  where = "submit.yml.erb"
  text = unless_refused(where) { render(where, OpenStruct.new(fields).instance_eval { binding }) }
  text && yaml(where, field, text)
end

def stage(fields)
  APP.glob("template/**/*.erb").to_h do |path|
    name = path.relative_path_from(APP).to_s
    Dir.mktmpdir { |root| [name, unless_refused(name) { render(name, Session.new(root, fields: fields).bound) }] }
  end
end

# Whether it runs what was typed. Nothing else is run: there is no PATH.
def runs?(script)
  around = "exec() { :; }; module() { :; }; clean_up() { builtin exit; }; eval \"$0\""
  Dir.mktmpdir do |place|
    system({ "PATH" => "/nowhere", "HOME" => place }, "/bin/bash", "-c", around, script,
           chdir: place, in: File::NULL, out: File::NULL, err: File::NULL, unsetenv_others: true)
    Dir.exist?(place) && !Dir.empty?(place)
  end
end

def test_a_field(field)
  asked = submit(field, GOOD)
  plain = [GOOD, GOOD.merge(field => WORD)].map { |fields| stage(fields) }
  HOSTILE.each do |value|
    fields = GOOD.merge(field => value)
    got = submit(field, fields)
    if got && outline(got, 9) != outline(asked, 9)
      fault("submit.yml.erb", "#{field} changes what the scheduler is asked for: quote it, or refuse it")
    end
    stage(fields).each { |name, text| look_at(name, field, text, plain.map { |texts| texts[name] }) if text }
  end
end

def look_at(name, field, text, plain)
  if name.end_with?(".yml.erb")
    got, *known = [text, *plain.compact].map { |one| outline(yaml(name, field, one), 2) }
    fault(name, "#{field} becomes YAML: write it with JSON.generate") unless known.include?(got)
  elsif text.include?("PWNED") && runs?(text)
    fault(name, "#{field} becomes shell: write it with Shellwords.escape")
  end
end

def test_the_shell
  APP.glob("template/**/*.sh").each do |path|
    _, errors, done = Open3.capture3("/bin/bash", "-n", path.to_s)
    fault(path.relative_path_from(APP), errors.lines.first.to_s.strip) unless done.success?
  end
  fault("template/script.sh", "has to be executable") if APP.glob("template/script.sh{,.erb}").none?(&:executable?)
end

# --- the pages ---

# The elements of a page, each with the names of its attributes.
def elements(page)
  page.gsub(/"[^"]*"/, '""').scan(/<[^>]*>?/).uniq
end

def view(value, without)
  render("view.html.erb", Connection.new(value, without).bound)
end

# A page of a session that says this of itself, in this state.
def page(name, value, state)
  Dir.mktmpdir do |root|
    now = Time.now.to_f
    told = {
      state: state, message: value, notices: [value], started_at: now, updated_at: now, ends_at: now + 4000,
      services: [{ name: value, state: value, detail: value }], workers: { ready: 1, wanted: 2 },
      error: state == "failed" ? { what: "#{value}\n#{value}", remedy: value, log: value } : nil
    }
    File.write("#{root}/status.json", JSON.generate(told))
    File.write("#{root}/output.log", "#{value}\n")
    render(name, Session.new(root, over: name.start_with?("completed")).bound)
  end
end

def test_a_page(where, &made)
  plain = unless_refused(where) { made.call(WORD) }
  several = unless_refused(where) { made.call("#{WORD}\n#{WORD}") }
  return unless plain && several

  # The portal reads it as Markdown.
  fault(where, "an empty line ends its HTML") if plain.strip.match?(/\n[ \t]*\n/)
  fault(where, "a line that begins with four blanks is no HTML") if plain.match?(/^ {4}/)
  HOSTILE.each do |value|
    text = unless_refused(where) { made.call(value) }
    more = text ? elements(text) - elements(plain) - elements(several) : []
    fault(where, "a value becomes HTML (#{more.first}): write it with CGI.escapeHTML") unless more.empty?
  end
end

def test_the_pages
  [[], [:spark_ui_secret], %i[spark_ui_path spark_ui_secret]].each do |without|
    test_a_page("view.html.erb") { |value| view(value, without) }
  end
  %w[info.html.erb completed.html.erb].product(%w[starting ready failed ended]).each do |name, state|
    test_a_page(name) { |value| page(name, value, state) }
  end
end

test_the_form
test_the_shell
FIELDS.each { |field| test_a_field(field) }
test_the_pages
abort(FAULTS.join("\n")) unless FAULTS.empty?
puts "#{FIELDS.size} fields and all pages, each with #{HOSTILE.size} hostile values: no fault"
