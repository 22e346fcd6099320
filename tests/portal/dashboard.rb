# frozen_string_literal: true

# A stand-in for what the Dashboard of Open OnDemand does with an app's templates: reads one request in JSON, answers
# with one. Ruby's own ERB, Psych and Redcarpet are the real ones.
#
# As in the real one: the object that each template is bound to, and what that object answers to in each version; a
# context answers only to fields of the form, a connection (OpenStruct) to everything; submit.yml is read by safe_load;
# files of template/ are written without .erb, with the mode of their source; an error's message is the user's.
#
# What it lacks: Rails, so what Active Support adds to Ruby's classes; smart attributes (bc_*).

require "cgi"
require "erb"
require "fileutils"
require "json"
require "ostruct"
require "pathname"
require "shellwords"
require "yaml"
require "redcarpet"

VERSIONS = %w[3.0 3.1 4.0 4.1 4.2].freeze

# Files that the Dashboard's file browser shows.
module OodAppkit
  def self.files
    Class.new { def url(path:) = "/pun/sys/dashboard/files/fs#{path}" }.new
  end

  def self.markdown
    Redcarpet::Markdown.new(
      Redcarpet::Render::HTML, autolink: true, tables: true, strikethrough: true, fenced_code_blocks: true,
                               no_intra_emphasis: true
    )
  end
end

# The user's answers.
class SessionContext
  def initialize(fields)
    @fields = fields.transform_keys(&:to_sym)
  end

  def respond_to_missing?(name, include_private = false)
    @fields.key?(name) || super
  end

  def method_missing(name, *arguments)
    @fields.key?(name) ? @fields[name] : super
  end
end

# What template/*.erb are bound to.
class TemplateBinding
  attr_reader :session, :context

  def initialize(session, context)
    @session = session
    @context = context
  end

  def get_binding # rubocop:disable Naming/AccessorMethodName
    binding
  end
end

# What info and completed are bound to.
class Session
  attr_reader :id, :cluster_id, :job_id, :created_at, :staged_root

  def initialize(root, state, version)
    @id = "11111111-2222-3333-4444-555555555555"
    @cluster_id = "cluster"
    @job_id = "7"
    @created_at = Time.now.to_i
    @staged_root = Pathname.new(root)
    @state = state
    define_singleton_method(:render_completed_view) { nil } unless version == "3.0"
    define_singleton_method(:completed_at) { Time.now.to_i } unless %w[3.0 3.1].include?(version)
  end

  def output_file = staged_root.join("output.log")
  def queued? = @state == "queued"
  def starting? = @state == "starting"
  def running? = @state == "running"
  def completed? = @state == "completed"
  def connect = OpenStruct.new(YAML.safe_load(staged_root.join("connection.yml").read))

  def bound
    binding
  end
end

def erb(path, bound)
  ERB.new(File.read(path), trim_mode: "-").result(bound)
end

def page(path, bound)
  OodAppkit.markdown.render(erb(path, bound))
end

def stage(app, session, fields)
  context = SessionContext.new(fields)
  FileUtils.cp_r("#{app}/template/.", session.staged_root)
  session.staged_root.join("user_defined_context.json").write(JSON.pretty_generate(fields))
  Dir.glob("#{session.staged_root}/**/*.erb").each { |file| File.unlink(file) }
  Dir.glob("#{app}/template/**/*.erb").each do |file|
    target = session.staged_root.join(file.delete_prefix("#{app}/template/")).sub_ext("")
    target.write(erb(file, TemplateBinding.new(session, context).get_binding))
    target.chmod(File.stat(file).mode)
  end
end

def answer(request)
  app, root = request.values_at("app", "root")
  session = Session.new(root, request["state"], request["version"])
  case request["what"]
  when "submit"
    text = erb("#{app}/submit.yml.erb", OpenStruct.new(request["fields"].merge(staged_root: root)).instance_eval { binding })
    { "text" => text, "value" => YAML.safe_load(text) }
  when "form"
    { "value" => YAML.safe_load(File.read("#{app}/form.yml")) }
  when "stage"
    stage(app, session, request["fields"])
    {}
  when "view"
    { "text" => page("#{app}/view.html.erb", session.connect.instance_eval { binding }) }
  when "info", "completed"
    { "text" => page("#{app}/#{request["what"]}.html.erb", session.bound) }
  end
rescue StandardError => e
  { "error" => "#{e.class}: #{e.message}" }
end

raise "unknown version" unless (request = JSON.parse($stdin.read)).all? { |one| VERSIONS.include?(one["version"]) }

puts JSON.generate(request.map { |one| answer(one) })
